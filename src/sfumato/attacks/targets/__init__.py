"""Networks to invert the features of, cut in two at a layer."""

from sfumato.attacks.targets.catalog import Target, bundled_targets, load_target
from sfumato.attacks.targets.cut import CutModel, Features
from sfumato.attacks.targets.layers import Layer, layers_of
from sfumato.attacks.targets.preprocessing import Pictures, Preprocessing, preprocessing_of
from sfumato.attacks.targets.traced import Pixels, TracedNetwork

__all__ = [
    "CutModel",
    "Features",
    "Layer",
    "Pictures",
    "Pixels",
    "Preprocessing",
    "Target",
    "TracedNetwork",
    "bundled_targets",
    "layers_of",
    "load_target",
    "preprocessing_of",
]
