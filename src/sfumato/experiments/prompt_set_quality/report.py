"""Tables, panels and rows of a study, each written whole over those of an earlier call."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import polars as pl

from sfumato.experiments.metric_names import MetricNames
from sfumato.experiments.prompt_set_quality.attention import AttentionRow, attention_lines
from sfumato.experiments.prompt_set_quality.expenses import expense_lines, reuse_lines
from sfumato.experiments.prompt_set_quality.judging import PAINTER, Judged, finished_prompts, judged
from sfumato.experiments.prompt_set_quality.lines import QualityLine, quality_lines
from sfumato.experiments.prompt_set_quality.pictures_side_by_side import panel
from sfumato.experiments.prompt_set_quality.portrait_prompts import SLOTS, PortraitPrompt
from sfumato.experiments.prompt_set_quality.reuse_effect import EffectLine, effect_lines
from sfumato.experiments.prompt_set_quality.scoring import PAINTINGS
from sfumato.experiments.prompt_set_quality.seconds import SecondsRow
from sfumato.experiments.prompt_set_quality.study import Study
from sfumato.experiments.prompt_set_quality.table_text import (
    attention_table,
    effect_table,
    expense_table,
    quality_table,
    reuse_table,
    value_table,
)
from sfumato.experiments.rows import RowStore
from sfumato.files import write_whole
from sfumato.models.folder import ModelFolder

_ALL: Final = SLOTS[max(SLOTS)]
_NOTES: Final = """\
- *prompt-set* computes k steps in full for every candidate, *+ cache* is k-r-s without map reuse, *+ reuse* the same
  with it. *hybrid* is prompt-set with the own prompt alone, in the clear: its pictures are those of *prompt-set*.
  *vanilla oblivious* makes all steps for all candidates on the server: its pictures are those of *server only*.
- All ways have the same noise for a prompt.
- Distances depend on how many pictures a set has, and few were made: compare them within one table only. *To
  painter*: to {paintings} pictures of each prompt by the painter that the models learned from. ± is the standard
  deviation over resampled pictures.
- {perceptual} compares each picture with the server's own of the same prompt and noise.
- *All requested*: pictures that show every attribute of the slots. *Shared words*: attributes that all candidates
  name alike.
- Seconds are the middle of all rounds (least to most), one thread, on a machine with other work; a round runs all
  ways in turn. Vanilla's are put together from full steps of *prompt-set* of the same round. Seconds and FLOPs are
  those of the U-Nets.
- Bytes are those of the messages, without the handshake."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that was computed."""

    out: Path
    study: Study
    device: ModelFolder
    prompts: tuple[PortraitPrompt, ...]
    frame: pl.DataFrame
    """Pictures of this device model, with scores."""
    painted: pl.DataFrame | None
    names: MetricNames


def write_tables(found: Found) -> list[Path]:
    """Writes ``tables.md``, the rows behind it as CSV, and a panel for each size of the candidate set.

    Raises:
        OSError: a file cannot be written; the old one is kept.
    """
    whole = finished_prompts(found.frame, found.prompts, found.study.painting_ways)
    pictures = judged(found.frame, whole)
    lines = quality_lines(pictures, *_painted(found, whole), found.study.painting_ways)
    seconds = RowStore(found.out / "seconds", SecondsRow).read()
    attention = RowStore(found.out / "attention", AttentionRow).read()
    texts = {
        "tables.md": _text(found, lines, effect_lines(pictures, found.study.settings), seconds, attention),
        "pictures.csv": _picture_rows(found).write_csv(float_precision=4),
        "seconds.csv": _flat(seconds).write_csv(),
        "attention.csv": attention.sort("architecture", "tokens", "case").write_csv(),
    }
    contents = {name: text.encode() for name, text in texts.items()}
    for size in sorted({p.num_candidates for p in found.prompts}):
        drawn = panel(found.out, found.frame, pictures, found.study.painting_ways, size)
        if drawn is not None:
            contents[f"pictures-{size}.png"] = drawn
    for name, content in contents.items():
        _write(found.out / name, content)
    return [found.out / name for name in contents]


def _painted(found: Found, prompts: Sequence[PortraitPrompt]) -> tuple[list[Judged], list[Judged]]:
    """One painting of each prompt, and the others."""
    if found.painted is None:
        return [], []
    first, others = (found.painted.filter(kept) for kept in (pl.col("painting") == 0, pl.col("painting") > 0))
    return judged(first, prompts, PAINTER), judged(others, prompts, PAINTER)


def _text(
    found: Found,
    lines: Sequence[QualityLine],
    effects: Sequence[EffectLine],
    seconds: pl.DataFrame,
    attention: pl.DataFrame,
) -> str:
    """``tables.md``."""
    study, device = found.study, found.device
    expenses = expense_lines(study, device, found.prompts, seconds)
    parts = [
        "# prompt-set: quality and cost",
        _made_by(found),
        _NOTES.format(paintings=PAINTINGS - 1, perceptual=found.names.perceptual),
    ]
    for size in sorted({line.num_candidates for line in expenses}):
        good = [line for line in lines if line.num_candidates == size]
        parts.append(f"## N = {size}: {' and '.join(SLOTS[size])}")
        if good:
            parts += ["### Quality", quality_table(good, found.names)]
            parts += ["### Right pictures, by what was requested", value_table(good, found.names)]
        parts += ["### Cost", expense_table([line for line in expenses if line.num_candidates == size])]
    if effects:
        parts += ["## What map reuse does to pictures, by prompts", effect_table(effects, found.names)]
    parts += ["## What map reuse saves: with it, over without it", reuse_table(reuse_lines(study, expenses, seconds))]
    if len(attention):
        parts += ["## One attention layer, random weights", attention_table(attention_lines(attention))]
    return "\n\n".join(parts) + "\n"


def _made_by(found: Found) -> str:
    study, frame = found.study, found.frame
    commits = sorted({c for name in ("server_commit", "commit") for c in frame[name].drop_nulls()})
    return "\n".join(
        [
            f"- server: {study.folder.name} (U-Net {study.model_fingerprint[:12]}); device: {found.device.name} "
            f"(U-Net {found.device.unet_fingerprint[:12]})",
            f"- {study.num_inference_steps} steps, {study.scheduler}, guidance {study.guidance_scale:g}, "
            f"{study.width} x {study.height} pixels",
            f"- made by sfumato {_all(frame['sfumato'])} with torch {_all(frame['torch'])}",
            f"- pictures at commit {', '.join(commits)}",
        ]
    )


def _all(values: pl.Series) -> str:
    return ", ".join(sorted(set(values)))


def _picture_rows(found: Found) -> pl.DataFrame:
    """A line a picture: what was asked for, what is read off it, and who computed it."""
    keys = ("num_candidates", "prompt_index")
    asked = [
        {
            **dict(zip(keys, (p.num_candidates, p.index), strict=True)),
            **{f"asked_{n}": p.requested.get(n) for n in _ALL},
        }
        for p in found.prompts
    ]
    read = pl.DataFrame([json.loads(each) for each in found.frame["read"]], infer_schema_length=None)
    kept = found.frame.select(
        *(*keys, "way", "own_index", "seed", "prompt", "clip_score", "server_distance"),
        *("server_commit", "commit", "case"),
    )
    joined = pl.concat([kept, read.select(pl.all().name.prefix("read_"))], how="horizontal")
    return joined.join(pl.DataFrame(asked, infer_schema_length=None), on=keys).sort(*keys, "way")


def _flat(seconds: pl.DataFrame) -> pl.DataFrame:
    """Lists as words, which CSV can hold."""
    steps = pl.col("steps").list.eval(pl.element().round(4).cast(pl.String)).list.join(" ")
    return seconds.with_columns(steps).sort("side", "num_candidates", "round", "way")


def _write(path: Path, content: bytes) -> None:
    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    write_whole(path, write)
