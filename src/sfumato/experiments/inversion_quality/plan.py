"""Which cells each table is made of, in the order in which they are computed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.experiments.inversion_quality.scale import Scale, numbers

FIRST_SEED: Final = 9001
"""Of the painted pictures; the bundled networks were trained on others."""
RESNET, VIT, CLIP = "portraits-resnet", "portraits-vit", "portraits-clip"
RESNET_CUTS: Final = ("L4", "L8", "L12")
CUTS: Final = (*((RESNET, layer) for layer in RESNET_CUTS), (VIT, "L3"), (CLIP, "output"))
"""Of Tables 1 and 4."""
TEXT_CUTS: Final = ((RESNET, "L16"), (VIT, "L6"), (CLIP, "output"))
"""Of Table 2."""
BLACK_TEXT_CUTS: Final = ((RESNET, "L16"), (CLIP, "output"))
"""Of Table 5."""
DEEP: Final = (RESNET, "L12")
WITHOUT_WORDS, WITH_WORDS = "without words", "with words"
SMOOTHED, UNSMOOTHED = "frame_weight 5", "frame_weight 0"
MIXED, UNMIXED = "with pointwise convolution", "without pointwise convolution"
WHITE_FORMS: Final = {"DO": "direct", "DB": "decoder", "DMB": "white-box"}
BLACK_FORMS: Final = {"DO": "black-box-direct", "DB": "black-box-decoder", "DMB": "black-box"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell's place in a table."""

    arm: str
    """Its line: a method, or one of two ways that are compared."""
    column: str
    cell: Cell


@dataclass(frozen=True, kw_only=True)
class Table:
    """One of the paper's tables or figures."""

    key: str
    title: str
    entries: tuple[Entry, ...]

    def cell(self, arm: str, column: str) -> Cell | None:
        """The cell of a place, if the table has one."""
        return next((each.cell for each in self.entries if (each.arm, each.column) == (arm, column)), None)

    @property
    def arms(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(each.arm for each in self.entries))

    @property
    def columns(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(each.column for each in self.entries))


def plan(scale: Scale) -> dict[str, Table]:
    """All tables, the ones that tell most first."""
    made = [
        Table(key="1", title="Table 1: white box", entries=tuple(_white_box(scale))),
        Table(key="4", title="Table 4: black box", entries=tuple(_black_box(scale))),
        Table(key="2", title="Table 2: white box with words", entries=tuple(_words(scale))),
        Table(key="ablation", title="Section 7.6: number of questions", entries=tuple(_ablation(scale))),
        Table(key="clips", title="Section 6.6 and Figure 17: clips, white box", entries=tuple(_clips(scale))),
        Table(key="clips-black", title="Section 7.5: clips, black box", entries=tuple(_black_clips(scale))),
        Table(key="5", title="Table 5: black box with words", entries=tuple(_black_words(scale))),
        Table(key="3", title="Table 3: number of sampling steps", entries=tuple(_step_counts(scale))),
        Table(key="full", title="One cell at the paper's settings", entries=tuple(_full(scale))),
    ]
    return {table.key: table for table in made}


def cells_of(tables: Sequence[Table]) -> list[Cell]:
    """Each cell once, in order."""
    return list(dict.fromkeys(entry.cell for table in tables for entry in table.entries))


def _seeds(count: int) -> tuple[int, ...]:
    return tuple(range(FIRST_SEED, FIRST_SEED + count))


def steps_column(count: int) -> str:
    """How a column of one number of sampling steps is headed."""
    return "1 step" if count == 1 else f"{count} steps"


def column_of(cut: tuple[str, str]) -> str:
    """How a column of one cut is headed."""
    return " ".join(cut)


def _entry(arm: str, cut: tuple[str, str], method: str, seeds: tuple[int, ...], **options: Any) -> Entry:
    column = options.pop("column", column_of(cut))
    shape = {name: options.pop(name) for name in ("num_frames", "words", "by_background") if name in options}
    settings = tuple(sorted(options.items()))
    cell = Cell(target=cut[0], layer=cut[1], method=method, settings=settings, seeds=seeds, **shape)
    return Entry(arm=arm, column=column, cell=cell)


def _network(scale: Scale, epochs: int, queries: int | None = None) -> dict[str, Any]:
    return {
        "queries": queries or scale.queries,
        "epochs": epochs,
        "channels": scale.channels,
        "training_batch": scale.training_batch,
    }


def _chain(scale: Scale) -> dict[str, Any]:
    return {**_network(scale, scale.black_epochs), "sampling_steps": scale.black_steps}


def _white_box(scale: Scale) -> Iterator[Entry]:
    given: dict[str, dict[str, Any]] = {
        "DO": {"iterations": scale.direct_iterations},
        "DB": {"iterations": scale.decoder_iterations},
        "DMB": {"iterations": scale.white_iterations, "sampling_steps": scale.white_steps},
    }
    for arm, method in WHITE_FORMS.items():
        for cut in CUTS:
            yield _entry(arm, cut, method, _seeds(scale.pictures), **given[arm])


def _black_box(scale: Scale) -> Iterator[Entry]:
    for arm, method in BLACK_FORMS.items():
        for cut in CUTS:
            options = _chain(scale) if arm == "DMB" else _network(scale, scale.epochs)
            yield _entry(arm, cut, method, _seeds(scale.pictures), **options)


def _words(scale: Scale) -> Iterator[Entry]:
    for cut in TEXT_CUTS:
        for arm in (WITHOUT_WORDS, WITH_WORDS):
            yield _entry(
                arm,
                cut,
                "white-box",
                _seeds(scale.text_pictures),
                words=arm == WITH_WORDS,
                by_background=True,
                iterations=scale.text_iterations,
                sampling_steps=scale.text_steps,
            )


def _ablation(scale: Scale) -> Iterator[Entry]:
    for count in numbers("ablation_queries", scale.ablation_queries):
        for form in ("DO", "DB"):
            options = _network(scale, scale.epochs, count)
            column = f"{count} questions"
            yield _entry(form, DEEP, BLACK_FORMS[form], _seeds(scale.pictures), column=column, **options)


def _clips(scale: Scale) -> Iterator[Entry]:
    for arm, weight in ((SMOOTHED, 5.0), (UNSMOOTHED, 0.0)):
        yield _entry(
            arm,
            DEEP,
            "white-box",
            _seeds(scale.clips),
            num_frames=scale.frames,
            iterations=scale.clip_iterations,
            clip_sampling_steps=scale.clip_steps,
            frame_weight=weight,
        )


def _black_clips(scale: Scale) -> Iterator[Entry]:
    for arm in (MIXED, UNMIXED):
        options = {**_network(scale, scale.epochs), "mix_frames": arm == MIXED}
        yield _entry(arm, DEEP, BLACK_FORMS["DB"], _seeds(scale.clips), num_frames=scale.frames, **options)


def _black_words(scale: Scale) -> Iterator[Entry]:
    for cut in BLACK_TEXT_CUTS:
        for arm in (WITHOUT_WORDS, WITH_WORDS):
            yield _entry(
                arm,
                cut,
                BLACK_FORMS["DMB"],
                _seeds(scale.text_pictures),
                words=arm == WITH_WORDS,
                by_background=True,
                **_chain(scale),
            )


def _step_counts(scale: Scale) -> Iterator[Entry]:
    for count in numbers("step_counts", scale.step_counts):
        options = {"iterations": scale.count_iterations, "sampling_steps": count}
        yield _entry("DMB", DEEP, "white-box", _seeds(scale.pictures), column=steps_column(count), **options)


def _full(scale: Scale) -> Iterator[Entry]:
    options = {"iterations": scale.full_iterations, "sampling_steps": scale.full_steps}
    yield _entry("DMB", (RESNET, "L8"), "white-box", _seeds(scale.full_pictures), **options)
