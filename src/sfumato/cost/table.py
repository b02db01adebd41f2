"""A cost as a table to read."""

from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfumato.cost.means import Mean, mean_text
from sfumato.cost.result import FLOAT_BYTES, Cost, Cycle, Once, Sizes, Spent

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_FLOP_UNITS = ("", "k", "M", "G", "T", "P")


def human_bytes(size: float | Mean) -> str:
    """A size with three digits or so: 47.0 MiB."""
    return _scaled(float(size), 1024, _UNITS)


def human_flops(flops: float | Mean) -> str:
    """FLOPs with three digits or so: 804 GFLOP."""
    return _scaled(float(flops), 1000, tuple(f"{u}FLOP" for u in _FLOP_UNITS))


def human_seconds(seconds: float) -> str:
    """Seconds with three digits or so: 12.3."""
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if abs(value) < base:
            return f"{value:.3g} {unit}" if abs(value) < 100 else f"{value:.0f} {unit}"
        value /= base
    return f"{value:.3g} {units[-1]}"


def cost_table(cost: Cost) -> RenderableType:
    """Shows one cost: a row a layer kind, then totals, then what the figures mean."""
    step = f"mean of {cost.cycle.each.steps} denoising steps" if cost.cycle else "one denoising step"
    title = f"{cost.model}, {cost.width} x {cost.height}, {cost.protocol}, {cost.clouds} clouds: {step}"
    table = Table(title=title, title_justify="left")
    table.add_column("layers")
    for name in ("rounds", "up min", "max", "per cloud", "all", "down min", "max", "per cloud", "all", "cloud FLOPs"):
        table.add_column(name, justify="right")
    for topic, spent in cost.per_cloud.items():
        table.add_row(
            topic, mean_text(spent.rounds), *_row(spent.up), *_row(spent.down), human_flops(spent.cloud_flops)
        )
    table.add_section()
    sent, received = human_bytes(cost.sent_bytes), human_bytes(cost.received_bytes)
    flops = human_flops(cost.compute.cloud_flops)
    table.add_row("total", mean_text(cost.rounds), "", "", "", sent, "", "", "", received, flops)
    return Group(table, *(Text(line) for line in _summary(cost)), *(Text(f"- {note}", "dim") for note in cost.notes))


def _row(sizes: Sizes) -> list[str]:
    return [human_bytes(size) for size in (sizes.min, sizes.max, sizes.total, sizes.all_clouds)]


def _summary(cost: Cost) -> list[str]:
    compute, counted = cost.compute, cost.parameters
    flops = compute.client_flops + compute.cloud_flops
    weights = FLOAT_BYTES * (counted.text_encoder + counted.vae_decoder + counted.unet)
    share = float(compute.client_flops / flops) if flops else 0.0
    held = compute.client_weight_bytes
    lines = [
        f"{cost.seconds_per_step:.3g} s a step on {cost.link} (modelled){_parts(cost)}",
        f"client: {human_flops(compute.client_flops)} a step ({share:.1%} of the U-Net's), "
        f"{human_bytes(held)} of weights ({held / weights:.1%} of the model)",
        "parameters: "
        + ", ".join(
            f"{name} {count / 1e6:.1f} M"
            for name, count in (
                ("text encoder", counted.text_encoder),
                ("VAE decoder", counted.vae_decoder),
                ("U-Net", counted.unet),
                ("convolutions", counted.conv),
                ("attention", counted.attention),
            )
        ),
    ]
    if between := cost.between:
        lines.insert(
            1,
            f"between clouds: {mean_text(between.exchanges)} exchanges, {human_bytes(between.sent_bytes)} in all, "
            f"{human_bytes(between.busiest_cloud_bytes)} from the busiest cloud",
        )
    if cost.once:
        beyond = ", beyond the means" if cost.cycle else ""
        lines.insert(
            1,
            f"once a run{beyond}: {mean_text(cost.once.rounds)} rounds, {human_bytes(cost.once.sent_bytes)} up, "
            f"{human_bytes(cost.once.received_bytes)} down, {cost.once.seconds:.3g} s{_client_once(cost.once)}",
        )
    return lines + (_whole_numbers(cost.cycle) if cost.cycle else [])


def _whole_numbers(cycle: Cycle) -> list[str]:
    def spent(steps: Spent) -> str:
        sent, received = human_bytes(steps.sent_bytes), human_bytes(steps.received_bytes)
        return f"{steps.steps} steps: {steps.rounds} rounds, {sent} up, {received} down"

    return [f"a cycle of {spent(cycle.each)}; before the first, with the handshake, {spent(cycle.before)}"]


def _parts(cost: Cost) -> str:
    if cost.step_seconds is None:
        return ""
    spent = {name: seconds for name, seconds in asdict(cost.step_seconds).items() if seconds is not None}
    overlapped = spent.pop("overlapped")
    saved = f", less {overlapped:.3g} s that overlap" if overlapped else ""
    return ": " + ", ".join(f"{name} {seconds:.3g} s" for name, seconds in spent.items()) + saved


def _client_once(once: Once) -> str:
    if once.client_seconds is None:
        return ""
    return f", and {once.client_seconds:.3g} s for the client's text encoder and decoder"
