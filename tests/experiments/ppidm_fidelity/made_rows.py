"""Rows of a sweep with scores that are set by hand."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from sfumato.experiments.metric_names import BUNDLED
from sfumato.experiments.ppidm_fidelity.comparisons import ReportSettings
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain

SETTINGS = ReportSettings(names=BUNDLED, own_sizes={"toy": (16, 16)}, num_resamples=200, num_set_resamples=40)

_SCHEMA = {
    "case": pl.String,
    "reference": pl.String,
    "model": pl.String,
    "model_fingerprint": pl.String,
    "prompt_set": pl.String,
    "prompt_index": pl.Int64,
    "prompt": pl.String,
    "seed": pl.Int64,
    "protocol": pl.String,
    "spec": pl.String,
    "num_clouds": pl.Int64,
    "num_inference_steps": pl.Int64,
    "guidance_scale": pl.Float64,
    "scheduler": pl.String,
    "height": pl.Int64,
    "width": pl.Int64,
    "sfumato": pl.String,
    "commit": pl.String,
    "torch": pl.String,
    "psnr": pl.Float64,
    "ssim": pl.Float64,
    "perceptual_distance": pl.Float64,
    "clip_score": pl.Float64,
    "features": pl.List(pl.Float32),
    "class_probabilities": pl.List(pl.Float32),
}


def frame(*parts: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows of a sweep, a case once, from the parts in any order."""
    rows = {row["case"]: row for part in parts for row in part}
    return pl.DataFrame(list(rows.values()), schema=_SCHEMA)


def compared(
    spec: LayerSplit,
    decibels: Sequence[float],
    *,
    prompt_set: str = "art",
    steps: int = 50,
    size: int = 16,
    **scores: Sequence[Any],
) -> list[dict[str, Any]]:
    """Split pictures of one condition with their PSNR, and the unsplit ones beside them.

    Args:
        spec: of the split pictures.
        decibels: one a picture; the place is the prompt's.
        prompt_set, steps, size: of all these pictures.
        scores: further columns of the split pictures, one value a picture.
    """
    rows = []
    for index, psnr in enumerate(decibels):
        key = f"{prompt_set}-{index}-{steps}-{size}"
        common = {
            "model": "toy",
            "model_fingerprint": "f00d",
            "prompt_set": prompt_set,
            "prompt_index": index,
            "prompt": f"a picture of {index}",
            "seed": 100 + index,
            "num_inference_steps": steps,
            "guidance_scale": 5.0,
            "scheduler": "ddim",
            "height": size,
            "width": size,
            "sfumato": "0.1.0",
            "commit": "abc123",
            "torch": "2.9.0",
            "clip_score": 30.0 + index,
            "features": [float(index), 1.0],
            "class_probabilities": [0.5, 0.5],
        }
        plain = Plain()
        unsplit = {"case": f"{key}-plain", "protocol": plain.name, "spec": plain.to_json(), "num_clouds": 1}
        split = {
            "case": f"{key}-{spec.to_json()}",
            "reference": unsplit["case"],
            "protocol": spec.name,
            "spec": spec.to_json(),
            "num_clouds": spec.num_clouds,
            "psnr": psnr,
            "ssim": 0.9,
            "perceptual_distance": 0.02,
        }
        rows += [common | unsplit, common | split | {name: values[index] for name, values in scores.items()}]
    return rows


def split(**settings: Any) -> LayerSplit:
    """A spec with the paper's merge and four clouds, unless it says otherwise."""
    return LayerSplit(**{"merge": "paper"} | settings)


def offloading(*layers: str, **settings: Any) -> LayerSplit:
    """A spec that offloads some layers."""
    return split(offload=frozenset(layers), **settings)
