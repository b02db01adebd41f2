"""``sfumato bench homomorphic``, first part: one update of a latent on ciphertexts, in every layout, in one run."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import torch
from rich.table import Table

from sfumato.bench.update_layouts import (
    Hybrid,
    InTheClear,
    OneValueEach,
    Released,
    Sealed,
    UpdateLayout,
    num_bytes,
)
from sfumato.protocols.homomorphic.selection import AllEntries, MinDistortion
from sfumato.randomness import seeded_generator

SHAPE = (1, 4, 64, 64)
THRESHOLDS = (0.01, 0.1, 0.2, 0.5, 0.9)
_SAMPLE = 256
"""Values of the latent that are encrypted one by one; the rest is reckoned."""
WHOLE = "packed, whole"
RELEASED = Released.name
ONE_EACH = OneValueEach.name
SEALED = Sealed.name
CLEAR = InTheClear.name


def with_threshold(threshold: float) -> str:
    """The name of a row of mode=paper."""
    return f"mode=paper, threshold {threshold:g}"


@dataclass(frozen=True, kw_only=True)
class UpdateRow:
    """One layout; medians, milliseconds of processor time, of a whole latent."""

    layout: str
    encrypted_fraction: float
    ciphertexts: int
    choosing_milliseconds: float
    """Client: selects."""
    before_milliseconds: float
    """Client: encrypts, serialises."""
    cloud_milliseconds: float
    after_milliseconds: float
    """Client: reads, decrypts, merges; nothing in sealed mode."""
    sent_bytes: int
    returned_bytes: int
    largest_error: float

    @property
    def client_milliseconds(self) -> float:
        """On ciphertexts, before and after."""
        return self.before_milliseconds + self.after_milliseconds

    @property
    def milliseconds(self) -> float:
        """On ciphertexts, of both sides."""
        return self.client_milliseconds + self.cloud_milliseconds


Times = tuple[float, float, float, float]
"""Seconds: chooses, encrypts, computes at the cloud, decrypts."""


class Published(NamedTuple):
    """One update as the paper's project page times it, in seconds."""

    case: str
    seconds: float


PUBLISHED = (
    Published("plain", 0.12),
    Published("naive Enc", 354.34),
    Published("Enc_opt", 1.67),
    Published("Sparse (theirs)", 0.70),
)
"""Source: the project page of Chen and Yan 2024 (arXiv 2403.05794), its timing table; hardware not stated there."""


def measure_updates(repeats: int) -> list[UpdateRow]:
    """Measures all layouts on one Gaussian latent, in one thread, in turns."""
    torch.set_num_threads(1)
    generator = seeded_generator(1)
    latent = torch.randn(SHAPE, generator=generator)
    addend = 0.1 * torch.randn(SHAPE, generator=generator)
    layouts: list[UpdateLayout] = [
        InTheClear(latent, addend),
        OneValueEach(latent, addend, sample=_SAMPLE),
        Released(latent, addend),
        Hybrid(latent, addend, name=WHOLE, parameters="one-level", selection=AllEntries()),
        *(
            Hybrid(latent, addend, name=with_threshold(t), parameters="one-level", selection=MinDistortion(threshold=t))
            for t in THRESHOLDS
        ),
        Sealed(latent, addend),
    ]
    seconds: dict[str, list[Times]] = {layout.name: [] for layout in layouts}
    sizes: dict[str, tuple[int, int, float]] = {}
    for turn in range(repeats + 1):
        for layout in layouts:
            if isinstance(layout, OneValueEach) and turn > 1:
                continue
            times, sizes[layout.name] = _once(layout)
            if turn or isinstance(layout, OneValueEach):
                seconds[layout.name].append(times)
    return [_row(layout, seconds[layout.name], sizes[layout.name]) for layout in layouts]


def _once(layout: UpdateLayout) -> tuple[Times, tuple[int, int, float]]:
    def timed(work: Callable[[], Any]) -> tuple[Any, float]:
        started = process_time()
        made = work()
        return made, process_time() - started

    _, choosing = timed(layout.choose)
    sent, before = timed(layout.send)
    returned, cloud = timed(lambda: layout.update(sent))
    found, after = timed(lambda: layout.receive(returned))
    if isinstance(layout, Sealed):
        found, after = layout.checked(), 0.0
    error = float((found.double() - layout.expected()).abs().max())
    is_local = isinstance(layout, InTheClear)
    return (choosing, before, cloud, after), (num_bytes(sent), 0 if is_local else num_bytes(returned), error)


def _row(layout: UpdateLayout, seconds: Sequence[Times], size: tuple[int, int, float]) -> UpdateRow:
    choosing, before, cloud, after = (median(part) * 1e3 * layout.is_scaled for part in zip(*seconds, strict=True))
    return UpdateRow(
        layout=layout.name,
        encrypted_fraction=layout.encrypted_fraction,
        ciphertexts=layout.num_ciphertexts,
        choosing_milliseconds=choosing,
        before_milliseconds=before,
        cloud_milliseconds=cloud,
        after_milliseconds=after,
        sent_bytes=size[0] * layout.is_scaled,
        returned_bytes=size[1] * layout.is_scaled,
        largest_error=size[2],
    )


def update_rows(rows: Sequence[UpdateRow], repeats: int) -> list[dict[str, Any]]:
    """As JSON values, each with its ratio to the update in the clear."""
    clear = rows[0].milliseconds
    return [
        {"bench": "homomorphic", "part": "update", "repeats": repeats}
        | asdict(row)
        | {"milliseconds": row.milliseconds, "times_the_clear": row.milliseconds / clear}
        for row in rows
    ]


def update_table(rows: Sequence[UpdateRow], repeats: int) -> Table:
    """All layouts, with the paper's own times below."""
    title = f"One update of a {'x'.join(map(str, SHAPE))} latent, one thread, processor time, medians of {repeats}"
    table = Table(title=title, title_justify="left")
    table.add_column("layout")
    headings = ("encrypted", "ciphertexts", "selects, ms", "encrypts, ms", "cloud, ms", "decrypts, ms", "both, ms")
    for heading in (*headings, "up, KiB", "down, KiB", "largest error", "x the clear"):
        table.add_column(heading, justify="right")
    clear = rows[0].milliseconds
    for row in rows:
        table.add_row(
            row.layout,
            f"{100 * row.encrypted_fraction:.0f} %",
            str(row.ciphertexts),
            *(
                f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
                for value in (
                    row.choosing_milliseconds,
                    row.before_milliseconds,
                    row.cloud_milliseconds,
                    row.after_milliseconds,
                    row.milliseconds,
                )
            ),
            f"{row.sent_bytes / 1024:,.0f}",
            f"{row.returned_bytes / 1024:,.0f}",
            f"{row.largest_error:.0e}",
            f"{row.milliseconds / clear:,.0f}",
        )
    return table


def published_table() -> Table:
    """The paper's, with what its columns are multiples of."""
    table = Table(title="One update as published (project page of arXiv 2403.05794)", title_justify="left")
    for heading in ("case", "seconds", "naive over it", "it over plain"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    plain, naive = PUBLISHED[0].seconds, PUBLISHED[1].seconds
    for case, seconds in PUBLISHED:
        table.add_row(case, f"{seconds:.2f}", f"{naive / seconds:.0f}", f"{seconds / plain:.1f}")
    return table
