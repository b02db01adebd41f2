"""What PPIDM's fidelity tables print, digit by digit.

Source: Wang et al. 2025, "PPIDM: Privacy-Preserving Inference for Diffusion Model in the Cloud", IEEE TCSVT,
doi 10.1109/TCSVT.2025.3553514, Tables IV to VII. 50 steps, guidance 5, DDIM, Stable Diffusion at 512 pixels, SDXL at
1024. Tables V to VII are Stable Diffusion with 4 clouds on Art. What is called SD there is 1.4 or 1.5 by Table II.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

SD, SDXL = "SD 1.5", "SDXL"

STANDARD_SIZE = 512
"""Pixels; what Stable Diffusion was made for, and so Table VII's 1x."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One line of a table."""

    model: str
    psnr: Decimal
    """In dB."""
    ssim: Decimal
    lpips: Decimal
    fid: Decimal


def _line(model: str, *figures: str) -> Published:
    psnr, ssim, lpips, fid = map(Decimal, figures)
    return Published(model=model, psnr=psnr, ssim=ssim, lpips=lpips, fid=fid)


BY_CLOUDS: Mapping[tuple[str, int], tuple[Published, ...]] = {
    ("art", 2): (_line(SD, "36.80", "0.968", "0.018", "4.73"), _line(SDXL, "39.48", "0.974", "0.014", "2.64")),
    ("art", 4): (_line(SD, "36.90", "0.969", "0.017", "4.56"), _line(SDXL, "39.57", "0.975", "0.013", "2.42")),
    ("art", 8): (_line(SD, "36.76", "0.968", "0.018", "4.74"), _line(SDXL, "39.77", "0.975", "0.013", "2.53")),
    ("coco", 2): (_line(SD, "37.27", "0.979", "0.014", "0.159"), _line(SDXL, "38.90", "0.977", "0.014", "0.102")),
    ("coco", 4): (_line(SD, "37.31", "0.979", "0.014", "0.159"), _line(SDXL, "39.15", "0.978", "0.014", "0.097")),
    ("coco", 8): (_line(SD, "37.12", "0.978", "0.014", "0.164"), _line(SDXL, "39.18", "0.978", "0.014", "0.097")),
}
"""Table IV: by prompt set and number of clouds."""

BY_LAYERS: Mapping[str, Published] = {
    "conv": _line(SD, "47.09", "0.993", "0.003", "1.09"),
    "att": _line(SD, "47.19", "0.993", "0.003", "1.10"),
    "GN": _line(SD, "36.91", "0.968", "0.017", "4.62"),
    "conv + att": _line(SD, "47.31", "0.994", "0.003", "0.88"),
    "conv + GN": _line(SD, "36.87", "0.968", "0.018", "4.69"),
    "att + GN": _line(SD, "36.87", "0.968", "0.018", "4.62"),
    "all": _line(SD, "36.90", "0.969", "0.017", "4.56"),
}
"""Table V: by the layers on the clouds, in the paper's order."""

BY_STEPS: Mapping[int, Published] = {
    30: _line(SD, "37.06", "0.97", "0.017", "4.67"),
    40: _line(SD, "37.04", "0.969", "0.017", "4.46"),
    50: _line(SD, "36.90", "0.969", "0.017", "4.56"),
    60: _line(SD, "36.45", "0.967", "0.019", "4.74"),
    70: _line(SD, "36.48", "0.966", "0.019", "4.82"),
}
"""Table VI: by the number of steps."""

BY_SIZE: Mapping[int, Published] = {
    256: _line(SD, "31.42", "0.925", "0.045", "12.66"),
    512: _line(SD, "36.90", "0.969", "0.017", "4.56"),
    768: _line(SD, "38.06", "0.970", "0.019", "4.49"),
    1024: _line(SD, "39.08", "0.972", "0.020", "4.54"),
}
"""Table VII: by the picture's side in pixels."""
