"""Split pictures beside the unsplit ones that they are compared with, ready for tables and figures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from sfumato.experiments.metric_names import MetricNames

PICTURE = ("prompt_set", "prompt_index", "seed")
"""What two rows share whose pictures would be one picture if nothing were split."""

ANY_MERGE = "-"
"""Where no group norm is split there is nothing to merge."""

_PARTS = {
    "conv": "conv",
    "pointwise_conv": "1x1 conv",
    "cross_attention": "att",
    "norm": "GN",
    "self_attention": "self-att",
}
_ALL = {"conv", "cross_attention", "norm"}


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The standard setting that tables and figures vary, and how they are printed."""

    names: MetricNames
    own_sizes: Mapping[str, tuple[int, int]]
    """Height and width that each model was made for, by the name in the rows."""
    num_inference_steps: int = 50
    num_clouds: int = 4
    """Of Tables V to VII."""
    num_resamples: int = 2000
    """Behind every interval of a mean."""
    num_set_resamples: int = 400
    """Behind every interval of a Fréchet distance or an inception score, which cost more."""


def compared_rows(frame: pl.DataFrame, settings: ReportSettings) -> pl.DataFrame:
    """Takes the split pictures of the paper's kind, and puts beside each what its reference scored.

    The paper's kind has cross-attention on the clouds. Added columns: ``layers`` (by name), ``merge``, ``wire_dtype``,
    ``relative_size`` (the
    side, to the model's own) and ``reference_features``, ``reference_class_probabilities``,
    ``reference_clip_score``.

    Raises:
        ValueError: no split picture, a case twice, pictures of a model under two settings that no table tells apart,
            or a model without its own size.
    """
    if frame["case"].is_duplicated().any():
        raise ValueError("rows hold a case twice: keep one row a picture")
    split = frame.filter(pl.col("protocol") == "layer-split")
    if split.is_empty():
        raise ValueError("rows hold no split picture, so there is nothing to compare: let the sweep run on")
    if unknown := sorted(set(split["model"]) - set(settings.own_sizes)):
        raise ValueError(f"own_sizes has no entry for {', '.join(unknown)}: give the size each model was made for")
    scored = ("features", "class_probabilities", "clip_score")
    unsplit = frame.filter(pl.col("protocol") == "plain").select(
        pl.col("case").alias("reference"), *(pl.col(c).alias(f"reference_{c}") for c in scored)
    )
    specs = pl.DataFrame([_described(s) for s in sorted(set(split["spec"]))])
    own_pixels = pl.col("model").replace_strict({m: h * w for m, (h, w) in settings.own_sizes.items()})
    rows = (
        split.join(specs, on="spec")
        .filter(pl.col("cross_attention") == "cloud")
        .with_columns(relative_size=(pl.col("height") * pl.col("width") / own_pixels).sqrt())
        .join(unsplit, on="reference", how="left")
    )
    _refuse_mixtures(rows)
    same = (*PICTURE, "model", "num_clouds", "layers", "merge", "num_inference_steps", "height", "width")
    return rows.unique(same, keep="first", maintain_order=True)


def _described(spec: str) -> dict[str, str]:
    """The columns that a layer-split spec gives."""
    values = json.loads(spec)
    offload = set(values["offload"])
    return {
        "spec": spec,
        "layers": _layers(offload),
        "merge": values["merge"] if "norm" in offload else ANY_MERGE,
        "cross_attention": values["cross_attention"],
        "wire_dtype": values["wire_dtype"],
    }


def _layers(offload: set[str]) -> str:
    """Names a set of layers as the paper's Table V does, in its order."""
    rest = offload - _ALL if offload >= _ALL else offload
    parts = [name for kind, name in _PARTS.items() if kind in rest]
    return " + ".join((["all"] if offload >= _ALL else []) + parts)


def _refuse_mixtures(rows: pl.DataFrame) -> None:
    """Refuses pictures of one model that differ in what the tables take for the same."""
    for column in ("model_fingerprint", "guidance_scale", "scheduler", "wire_dtype"):
        found = rows.select("model", column).unique().group_by("model").len().filter(pl.col("len") > 1)
        if not found.is_empty():
            raise ValueError(
                f"rows of model {found['model'][0]} differ in {column}, which no table shows: report one at a time"
            )


def shared_pictures(rows: pl.DataFrame, varying: str) -> pl.DataFrame:
    """Keeps the pictures that every cell has, so that cells differ in their setting only.

    A cell is one value of the varying column under one merge; models and prompt sets stand apart. Where fewer than two
    pictures are in every cell, as in a sweep that has just begun, all are kept.
    """
    block = ("model", "prompt_set")
    cells = pl.struct(varying, "merge").n_unique()
    is_everywhere = cells.over("model", *PICTURE) == cells.over(*block)
    num_everywhere = pl.struct(*PICTURE).filter(is_everywhere).n_unique().over(*block)
    return rows.filter(is_everywhere | (num_everywhere < 2))
