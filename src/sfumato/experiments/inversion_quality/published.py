"""What the feature-inversion paper's tables print, for the cuts that come nearest to the ones here.

The paper calls its second figure PSNR and defines it by Eq. 14, with the mean absolute error under the logarithm. By
that formula 41 dB would be a mean error of 0.02 of 255 levels, which bytes cannot show, so the figures are set beside
both.

Source: "Unlocking Visual Secrets: Inverting Features with Diffusion Priors for Image Reconstruction", Tables 1 to 5,
Sections 6.4, 6.6, 7.3 and 7.5. 100 pictures of ImageNet, 1,500 iterations, 20 steps; 4,096 questions, 96 epochs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sfumato.experiments.inversion_quality.plan import CLIP, RESNET, VIT, WITH_WORDS, WITHOUT_WORDS, column_of

_L4, _L8, _L12, _L16 = (column_of((RESNET, layer)) for layer in ("L4", "L8", "L12", "L16"))
_VIT_MIDDLE, _VIT_LAST, _CLIP = column_of((VIT, "L3")), column_of((VIT, "L6")), column_of((CLIP, "output"))


@dataclass(frozen=True)
class Published:
    """One cell of the paper, as printed; None where it prints nothing."""

    inception: float | None
    psnr: float | None
    ssim: float | None


def _column(*arms: tuple[float | None, float | None, float | None]) -> dict[str, Published]:
    return {name: Published(*figures) for name, figures in zip(("DO", "DB", "DMB"), arms, strict=True)}


def _words(without: tuple[float, float, float], told: tuple[float, float, float]) -> dict[str, Published]:
    return {WITHOUT_WORDS: Published(*without), WITH_WORDS: Published(*told)}


PUBLISHED: Mapping[str, Mapping[str, Mapping[str, Published]]] = {
    "1": {
        _L4: _column((5.63, 29.3, 0.87), (6.84, 35.2, 0.93), (7.23, 41.0, 0.97)),
        _L8: _column((3.92, 14.6, 0.58), (5.97, 32.6, 0.90), (6.86, 36.3, 0.94)),
        _L12: _column((1.40, 9.51, 0.13), (4.20, 18.6, 0.72), (6.48, 29.1, 0.86)),
        _VIT_MIDDLE: _column((1.63, 9.42, 0.11), (3.93, 19.9, 0.75), (6.58, 32.5, 0.91)),
        _CLIP: _column((0.88, 5.78, 0.11), (2.21, 9.74, 0.33), (3.54, 13.2, 0.50)),
    },
    "4": {
        _L4: _column((5.38, 27.6, 0.84), (6.53, 34.3, 0.90), (6.99, 40.4, 0.92)),
        _L8: _column((3.64, 11.1, 0.40), (5.23, 24.3, 0.78), (6.21, 32.5, 0.84)),
        _L12: _column((1.01, 7.74, 0.08), (3.60, 9.6, 0.38), (5.19, 20.6, 0.46)),
        _VIT_MIDDLE: _column((1.48, 7.80, 0.08), (3.51, 11.5, 0.55), (5.00, 19.5, 0.71)),
        _CLIP: _column((0.45, 2.62, 0.09), (2.03, 9.10, 0.25), (3.22, 12.0, 0.46)),
    },
    "2": {
        _L16: _words((0.33, 4.5, 0.02), (3.60, 15.4, 0.59)),
        _VIT_LAST: _words((0.47, 4.3, 0.02), (3.05, 14.7, 0.56)),
    },
    "5": {
        _L16: _words((0.29, 4.3, 0.03), (3.11, 13.6, 0.50)),
        _CLIP: _words((3.22, 12.0, 0.46), (4.09, 17.7, 0.56)),
    },
    "3": {
        "10 steps": {"DMB": Published(5.93, None, 0.80)},
        "15 steps": {"DMB": Published(6.38, None, 0.87)},
        "20 steps": {"DMB": Published(6.55, None, 0.88)},
        "25 steps": {"DMB": Published(6.62, None, 0.89)},
        "30 steps": {"DMB": Published(6.65, None, 0.89)},
    },
    "full": {_L8: {"DMB": Published(6.86, 36.3, 0.94)}},
}
"""By table, column and line."""

PAPER_CUTS: Mapping[str, Mapping[str, str]] = {
    "1": {_L4: "ResNet-18 L4", _L8: "ResNet-18 L8", _L12: "ResNet-18 L12", _VIT_MIDDLE: "ViT-base L5", _CLIP: "CLIP"},
    "4": {_L4: "ResNet-18 L4", _L8: "ResNet-18 L8", _L12: "ResNet-18 L12", _VIT_MIDDLE: "ViT-base L5", _CLIP: "CLIP"},
    "2": {_L16: "ResNet-18 L16", _VIT_LAST: "ViT-base L8"},
    "5": {_L16: "ResNet-50 L48", _CLIP: "CLIP"},
    "3": {f"{count} steps": "ResNet-50 L36" for count in (10, 15, 20, 25, 30)},
    "full": {_L8: "ResNet-18 L8"},
}
"""Whose figures stand beside a column."""

SECTION_GAINS: Mapping[str, Published] = {"clips": Published(1.8, 7.3, 0.39), "clips-black": Published(0.2, 4.0, 0.09)}
"""What the smoothing term (ten clips) and the pointwise convolution (ResNet-50 L36) add, by Sections 6.6 and 7.5."""


def published(table: str, column: str, arm: str) -> Published | None:
    """The paper's figures for a place."""
    return PUBLISHED.get(table, {}).get(column, {}).get(arm)
