"""What a CLIP folder may hold beside the model, so that attributes can be read off pictures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sfumato.errors import ModelError

CAPTIONS_FILE: Final = "attributes.json"
"""``{"captions": {attribute: {value: [caption, ...]}}, "classes": [attribute, ...]}``"""
LINEAR_FILE: Final = "read_out.safetensors"
"""``<attribute>.weight`` (value, feature) and ``<attribute>.bias`` (value,), for features before the projection."""


@dataclass(frozen=True, kw_only=True)
class LinearMap:
    """Scores of one attribute's values from a picture's features."""

    weight: Float32[np.ndarray, "value feature"]
    bias: Float32[np.ndarray, " value"]

    def __call__(self, features: Float32[np.ndarray, "batch feature"]) -> Float32[np.ndarray, "batch value"]:
        """One row a picture."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True, kw_only=True)
class AttributeFiles:
    """What the folder says about attributes."""

    captions: dict[str, dict[str, list[str]]]
    """Attribute to value to captions that name this value and little else."""
    classes: tuple[str, ...]
    """Attributes whose combinations make the classes of a picture."""
    linear_maps: dict[str, LinearMap] | None
    """None where the folder holds captions only."""


def read_attribute_files(folder: Path, name: str) -> AttributeFiles | None:
    """Reads both files; None where the folder holds no captions.

    Args:
        folder: in transformers' layout.
        name: the model's, for messages.

    Raises:
        ModelError: a file is damaged, or the two do not belong together.
    """
    try:
        content = json.loads((folder / CAPTIONS_FILE).read_text())
        captions, classes = content["captions"], tuple(content["classes"])
        if any(not texts for values in captions.values() for texts in values.values()):
            raise ValueError("a value without captions")
        if not classes or not set(classes) <= set(captions):
            raise ValueError("classes of unknown attributes")
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"model {name!r} is damaged: {CAPTIONS_FILE} holds no captions of attributes") from error
    return AttributeFiles(captions=captions, classes=classes, linear_maps=_linear_maps(folder, name, captions))


def _linear_maps(folder: Path, name: str, captions: dict[str, dict[str, list[str]]]) -> dict[str, LinearMap] | None:
    try:
        weights = {key: value.astype(np.float32) for key, value in load_file(folder / LINEAR_FILE).items()}
        maps = {a: LinearMap(weight=weights[f"{a}.weight"], bias=weights[f"{a}.bias"]) for a in captions}
        if any(len(maps[attribute].bias) != len(values) for attribute, values in captions.items()):
            raise ValueError("values of other attributes")
    except FileNotFoundError:
        return None
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ModelError(f"model {name!r} is damaged: {LINEAR_FILE} does not fit {CAPTIONS_FILE}") from error
    return maps
