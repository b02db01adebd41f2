"""Costs of whole pictures as a table to read."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfumato.cost.picture import PROMPT_CHARACTERS, PictureCost
from sfumato.cost.speeds import UNKNOWN
from sfumato.cost.table import human_bytes, human_flops, human_seconds


def picture_table(costs: Sequence[PictureCost], *, as_published: bool = False) -> RenderableType:
    """Shows one cost a row.

    Args:
        costs: of the same models and settings, for several numbers of candidates.
        as_published: adds the server's FLOPs as the paper counts them, and the paper's own.
    """
    first = costs[0]
    pair = first.model + (f" and {first.device_model}" if first.device_model else "")
    table = Table(
        title=f"{pair}, {first.width} x {first.height}, prompt-set {first.spec['server_steps']}: one picture in "
        f"{first.steps} steps" + (", attention maps reused" if first.spec["reuse_maps"] else ""),
        title_justify="left",
    )
    names = ["candidates", "up", "down", "server FLOPs", "of the server alone", "client FLOPs", "modelled s"]
    names += ["as the paper counts", "the paper", "miss"] if as_published else []
    for name in names:
        table.add_column(name, justify="right")
    for cost in costs:
        table.add_row(*_row(cost), *(_published(cost) if as_published else []))
    return Group(table, *(Text(line, "dim") for line in _notes(first, as_published)))


def _row(cost: PictureCost) -> list[str]:
    return [
        str(cost.candidates),
        human_bytes(cost.sent_bytes),
        human_bytes(cost.received_bytes),
        human_flops(cost.server_flops),
        f"{cost.times_alone:.2f}x",
        "not counted" if cost.client_flops is None else human_flops(cost.client_flops),
        human_seconds(cost.seconds),
    ]


def _published(cost: PictureCost) -> list[str]:
    counted = f"{cost.published_way_flops / 1e12:.2f} T"
    if cost.published_flops is None:
        return [counted, "-", "-"]
    miss = cost.published_way_flops / cost.published_flops - 1
    return [counted, f"{cost.published_flops / 1e12:.2f} T", f"{miss:+.1%}"]


def _notes(cost: PictureCost, as_published: bool) -> list[str]:
    notes = [
        f"- The server makes {cost.server_steps} steps for all candidates, the client's U-Net {cost.client_steps}. "
        "Rounds: the handshake and one more. Bytes as they cross the wire, for prompts of "
        f"{PROMPT_CHARACTERS} characters.",
        f"- FLOPs of the U-Nets, all that is dispatched. Besides, once: {human_flops(cost.server_text_flops)} for the "
        f"server's text encoder, {human_flops(cost.client_text_and_decoder_flops)} for the client's and its decoder.",
        "- Of the server alone: as a multiple of its making the one picture without privacy.",
    ]
    if cost.device_model is None:
        notes.append("- No device model is named (--device-model): the client's U-Net is not counted.")
    if cost.speeds == UNKNOWN:
        notes.append("- Modelled: two round trips and the bytes; computing takes no time without --cloud-gflops.")
    else:
        notes.append("- Modelled: two round trips, the bytes, and the computing of each side whose speed is given.")
    if as_published:
        notes.append(
            "- The paper counts one guidance half, without one of attention's two products, and with map reuse without "
            "both; that is inferred from its figures (ObCLIP, arXiv 2510.04153, Table 7)."
        )
    return notes
