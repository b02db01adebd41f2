"""The text of ``table.md``: what was computed, how to read it, the tables, and the trends."""

from collections.abc import Iterable, Sequence
from math import isinf
from textwrap import fill
from typing import Any

import polars as pl

from sfumato.experiments.markdown import markdown_table
from sfumato.experiments.metric_names import PUBLISHED
from sfumato.experiments.ppidm_fidelity.comparisons import ANY_MERGE, ReportSettings
from sfumato.experiments.ppidm_fidelity.table_text import NOTHING, interval_text, size_text, table_text
from sfumato.experiments.ppidm_fidelity.tables import Table
from sfumato.experiments.ppidm_fidelity.verdicts import Trend

_TITLE = "# PPIDM's fidelity study: split pictures beside unsplit ones"
_SOURCE = (
    'In the layout of Wang et al. 2025, "PPIDM: Privacy-Preserving Inference for Diffusion Model in the Cloud", IEEE '
    "TCSVT, doi 10.1109/TCSVT.2025.3553514, with the paper's own figures beside those found here."
)
_TRENDS = (
    "All with the paper's merge but for the last. Each figure is taken picture by picture, from the pictures that have "
    "all the settings it needs; an identical pair counts as if one byte was off by one. The verdict follows from the "
    "95 % interval, and the last one from the least picture."
)
_LINE_WIDTH = 120


def report_text(frame: pl.DataFrame, tables: Sequence[Table], tried: Sequence[Trend], settings: ReportSettings) -> str:
    """Puts the report together; the tables and trends are those of the frame."""
    parts = [
        _TITLE,
        fill(_SOURCE, _LINE_WIDTH),
        _computed(frame),
        _reading(frame, settings),
        *(table_text(t) for t in tables),
        _trends_text(tried),
    ]
    return "\n\n".join(parts) + "\n"


def _computed(frame: pl.DataFrame) -> str:
    """What the pictures are and where they came from."""
    split = frame.filter(pl.col("protocol") != "plain")
    prompts = frame.group_by("prompt_set").agg(pl.struct("prompt_index", "seed").n_unique()).sort("prompt_set")
    items = {
        "models": _listed(f"{m} (U-Net {f[:12]})" for m, f in _unique(frame, "model", "model_fingerprint")),
        "pictures": f"{len(split)} split, {len(frame) - len(split)} unsplit" + _left_out(split),
        "prompts": _listed(f"{count} {name}" for name, count in prompts.rows()),
        "steps": _listed(str(s) for (s,) in _unique(frame, "num_inference_steps")),
        "sizes": _listed(size_text(h, w) for h, w in _unique(frame, "height", "width")) + " pixels",
        "sampler": _listed(f"{s}, guidance {g:g}" for s, g in _unique(frame, "scheduler", "guidance_scale")),
        "made by": _listed(
            f"sfumato {v} at commit {c or 'unknown'} with torch {t}"
            for v, c, t in _unique(frame, "sfumato", "commit", "torch")
        ),
    }
    return _items(f"{name}: {text}" for name, text in items.items())


def _left_out(split: pl.DataFrame) -> str:
    """Pictures that the paper has no place for."""
    count = split["spec"].str.contains('"cross_attention":"client"', literal=True).sum()
    return f"; {count} with cross-attention on the client are in no table" if count else ""


def _unique(frame: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return frame.select(columns).unique().sort(columns).rows()


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items)


def _items(notes: Iterable[str]) -> str:
    """A list whose lines are short enough to read unrendered."""
    return "\n".join(fill(f"- {note}", _LINE_WIDTH, subsequent_indent="  ") for note in notes)


def _reading(frame: pl.DataFrame, settings: ReportSettings) -> str:
    """What every figure means, and what it must not be taken for."""
    names = settings.names
    features = frame["features"].drop_nulls()
    width = f" for {len(features[0])} dimensions" if len(features) else ""
    notes = [
        "Each split picture is compared with the unsplit one of the same prompt, seed, steps and size. A figure is the "
        "mean over these pairs, with its 95 % bootstrap interval in brackets.",
        "n is the number of clouds, and merge how their statistics of group norm become the whole map's: `paper` takes "
        f"the mean of the strips' variances, `exact` is exact, `{ANY_MERGE}` where no group norm is split. att is "
        "cross-attention.",
        "PSNR is the mean over the pairs that differ. Pairs that agree in every byte have no finite PSNR; they are "
        "counted in brackets beside the number of pairs.",
        f"{names.frechet} depends on how many pictures a set has, the more so where they are few{width}: compare it "
        "only between rows of one table with equally many pairs. Its interval is as wide as the bootstrap's on "
        "resampled pairs, and centred on the value.",
        "Tables V to VII take, for each model and prompt set, the pictures that all their rows have.",
        "The paper's figures are of other models, over 1,100 Art and 30,000 COCO prompts. Absolute figures belong to "
        "their model; what can be set beside each other is how they change within a table.",
    ]
    if names != PUBLISHED:
        notes.append(
            f"{names.perceptual}, {names.frechet}, {names.inception} and {names.clip} are the formulas of "
            f"{PUBLISHED.perceptual}, {PUBLISHED.frechet}, {PUBLISHED.inception} and {PUBLISHED.clip} over the bundled "
            "image-text encoder: they compare with each other and with no published figure."
        )
    return "## How to read the tables\n\n" + _items(notes)


def _trends_text(tried: Sequence[Trend]) -> str:
    """A line for each trend, and under them what each figure is."""
    several = len({t.claim.model for t in tried}) > 1
    headings = ["trend", "verdict", "here", "paper", "unit", "pictures"]
    lines = [
        [
            t.claim.claim,
            f"**{t.verdict}**",
            _figure_text(t),
            NOTHING if t.claim.paper is None else interval_text(t.claim.paper, None, None, 2, is_change=True),
            t.claim.unit,
            str(t.pictures),
        ]
        for t in tried
    ]
    if several:
        headings.insert(0, "model")
        lines = [[t.claim.model, *line] for t, line in zip(tried, lines, strict=True)]
    is_number = [h in ("here", "paper", "pictures") for h in headings]
    meanings = [f"{f'{t.claim.model}: ' if several else ''}{t.claim.claim}: {t.claim.meaning}." for t in tried]
    table = markdown_table(headings, lines, is_number)
    return "\n\n".join(["## The paper's trends on these pictures", fill(_TRENDS, _LINE_WIDTH), table, _items(meanings)])


def _figure_text(trend: Trend) -> str:
    if trend.value is None:
        return NOTHING
    if isinf(trend.value):
        return "identical"
    return interval_text(trend.value, trend.low, trend.high, 2, is_change=trend.low is not None)
