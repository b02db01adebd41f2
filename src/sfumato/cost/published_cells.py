"""The PPIDM paper's cells as it prints them, and where they are wrong.

Source: as in :mod:`sfumato.cost.as_published`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from math import floor
from typing import Any

from sfumato.cost.link import Link
from sfumato.cost.result import TopicCost
from sfumato.models.skeleton import Parameters

MIB = 1 << 20
"""What the paper calls MB.

Source: Table VIII, n = 4, prints 2.5 for 640 channels * 64 columns * 16 rows * 4 B = 2.5 * 2**20 B.
"""

_TABLES = {"conv": "VIII", "cross_attention": "IX", "norm": "X"}

_DECIMALS = {
    ("conv", "down", "min"): 3,
    ("cross_attention", "down", "max"): 3,
    ("norm", "down", "min"): 4,
    ("norm", "down", "max"): 4,
    ("norm", "down", "total"): 3,
}
"""Digits after the point where the paper does not print two."""

_ROUNDED = {("conv", "down", "min")}
"""Printed rounded (.031, .016, .008); every other cell is cut off."""

PRINTED_PARAMETERS = {
    "sd15": {"text_encoder": 123e6, "vae_decoder": 50e6, "unet": 860e6, "conv": 589e6, "attention": 94e6},
    "sdxl": {"text_encoder": 817e6, "vae_decoder": 50e6, "unet": 2.6e9, "conv": 334e6, "attention": 956e6},
}
"""Source: Table II."""


def truncated(value: float, decimals: int) -> float:
    """Cuts off digits, as the paper does."""
    return floor(value * 10**decimals) / 10**decimals


def _cell(kind: str, direction: str, statistic: str, size: int) -> float:
    where = (kind, direction, statistic)
    decimals = _DECIMALS.get(where, 2)
    return round(size / MIB, decimals) if where in _ROUNDED else truncated(size / MIB, decimals)


def _table(kind: str, cost: TopicCost) -> dict[str, dict[str, float]]:
    ways = {"up": cost.up, "down": cost.down}
    return {
        way: {name: _cell(kind, way, name, getattr(sizes, name)) for name in ("min", "max", "total")}
        for way, sizes in ways.items()
    }


def cells(tables: Mapping[str, TopicCost], counted: Parameters, link: Link) -> dict[str, Any]:
    """The paper's cells: sizes in MiB, with as many digits as are printed there.

    Args:
        tables: counted by the paper's rules.
        counted: for Table II.
        link: its rates.
    """
    volumes = {
        kind: {"up": truncated(float(c.up.all_clouds) / MIB, 2), "down": truncated(float(c.down.all_clouds) / MIB, 2)}
        for kind, c in tables.items()
    }
    return {
        "unit": "MiB, which the paper calls MB",
        "tables": {_TABLES[kind]: _table(kind, cost) for kind, cost in tables.items()},
        "all_clouds": volumes,
        "seconds": _printed_seconds(tables, link),
        "corrected_seconds": _corrected_seconds(tables, link),
        "table_ii": {name: f"{count / 1e6:.2f}M" for name, count in asdict(counted).items()},
    }


def _printed_seconds(tables: Mapping[str, TopicCost], link: Link) -> dict[str, float]:
    """The step as the paper adds it up: convolutions' downloads at the uplink's rate, and the others' uploads.

    Source: section V.E, items 1 to 4: 10.88 + 7.23 + 33.89 = 52 s for n = 4. Sizes in MiB are taken for 10**6 B.
    """
    charged = {kind: (c.down if kind == "conv" else c.up).all_clouds / MIB * 1e6 for kind, c in tables.items()}
    seconds = {kind: truncated(link.up_seconds(size), 2) for kind, size in charged.items()}
    return seconds | {"step": round(sum(seconds.values()), 2)}


def _corrected_seconds(tables: Mapping[str, TopicCost], link: Link) -> dict[str, float]:
    """The same with every layer kind's own longer way; still with MiB taken for 10**6 B."""
    seconds = {
        kind: _longer_way(c.up.all_clouds / MIB * 1e6, c.down.all_clouds / MIB * 1e6, link)
        for kind, c in tables.items()
    }
    return {k: round(s, 2) for k, s in seconds.items()} | {"step": round(sum(seconds.values()), 2)}


def _longer_way(sent_bytes: float, received_bytes: float, link: Link) -> float:
    return max(link.up_seconds(sent_bytes), link.down_seconds(received_bytes))


def notes(published: Mapping[str, Any], tables: Mapping[str, TopicCost], model: str, link: Link) -> tuple[str, ...]:
    """What the paper's figures leave out, and where they are wrong, a sentence each."""
    printed, corrected, volumes = published["seconds"], published["corrected_seconds"], published["all_clouds"]["conv"]
    in_bytes = sum(_longer_way(float(c.up.all_clouds), float(c.down.all_clouds), link) for c in tables.values())
    return (
        f"The paper's slip: its {printed['conv']:.2f} s for convolutions is the download volume "
        f"({volumes['down']:.2f} MB) at the uplink's rate; uploading {volumes['up']:.2f} MB takes "
        f"{corrected['conv']:.2f} s, so the step takes {corrected['step']:.1f} s, not {printed['step']:.0f} s.",
        f"Its MB are MiB, which its times take for 10**6 bytes; in true bytes the corrected step takes "
        f"{in_bytes:.1f} s.",
        "Tables VIII and IX are one U-Net pass, Table X's uploads two (both guidance halves); its download total "
        "holds each norm's statistics 4 times, of which two passes explain 2.",
        "Counted are the convolutions larger than 1x1 without conv_in, cross-attention and group norms; "
        "self-attention, 1x1 convolutions and linear layers stay on the client; compute is one pass.",
        "Table IX's printed maximum upload is that of the layers with the most queries; for SD1.5 and n = 8 the "
        "largest upload is .90 MB, not .81, because K and V are not cut.",
        "The paper's 0.13 s to download attention is 44.06 / 340.56 without the 8 bits of a byte (1.03 s), and its "
        "343.74 MB of group norms is 343.75; neither changes its total.",
        "The paper counts no rounds and no round-trip time; rounds here is one exchange a counted layer.",
        *_parameter_notes(published["table_ii"], model),
    )


def _parameter_notes(counted: Mapping[str, str], model: str) -> list[str]:
    printed = PRINTED_PARAMETERS.get(model, {})
    off = [
        f"{name} {counted[name]} (printed {value / 1e6:.0f}M)"
        for name, value in printed.items()
        if name != "unet" and round(float(counted[name][:-1])) != round(value / 1e6)
    ]
    return [f"Table II, where rounding our count does not give its figure: {', '.join(off)}."] if off else []
