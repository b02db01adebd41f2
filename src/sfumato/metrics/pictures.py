"""How alike pictures are, byte by byte.

Pictures are uint8 arrays of shape (batch, height, width, 3); every metric gives one number a picture, in fp64. All
raise ``ValueError`` for other types or shapes and for empty batches.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sfumato.metrics.checking import check_pictures

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def psnr(pictures: NDArray[np.uint8], references: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio: dB in [0, inf], higher is better, inf where all bytes agree.

    Source: 10 log10(255^2 / MSE), the mean over all pixels and channels; computed by torchmetrics to 1e-7 of its value.
    """
    import torch  # Here, as is torchmetrics: importing it takes seconds.
    from torchmetrics.functional.image import peak_signal_noise_ratio

    check_pictures(pictures, references)
    # On a scale of 1, because torchmetrics keeps the peak in fp32.
    pairs = ((torch.from_numpy(a / 255), torch.from_numpy(b / 255)) for a, b in _pairs(pictures, references))
    return np.array([peak_signal_noise_ratio(a, b, data_range=1.0).item() for a, b in pairs])


def mean_absolute_psnr(pictures: NDArray[np.uint8], references: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the feature-inversion paper prints as "PSNR": dB in [0, inf], higher is better, inf where all bytes agree.

    It divides the peak by the mean absolute error, neither squared, so it is not to be set beside the PSNR of other
    work. It is never above ``psnr``, and half of it where all errors are equal: an error of 1 everywhere has 24.1 dB
    here and 48.1 dB there.

    Source: "Unlocking Visual Secrets: Inverting Features with Diffusion Priors for Image Reconstruction", Eq. 14:
        10 log(255 / MAE). The paper leaves open the base, 10 here since it reports dB, and the channels, over which
        we take the mean.
    """
    check_pictures(pictures, references)
    errors = np.array([np.abs(a - b).mean() for a, b in _pairs(pictures, references)])
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255 / errors)


def ssim(pictures: NDArray[np.uint8], references: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Structural similarity: in [-1, 1], higher is better, 1 where all bytes agree.

    The mean over the colour channels, and over those windows that lie wholly inside the picture: nothing is padded,
    so the outer 5 pixels count only as neighbours. Pictures have at least 11 x 11 pixels.

    Source: Wang et al. 2004, Image Quality Assessment, Eq. 13: Gaussian window of 11 x 11 pixels, sigma 1.5, K1 0.01,
        K2 0.03, range 255. The same as scikit-image, and as torchmetrics less its reflected border; torchmetrics in
        fp64 needs 50 times as long on a CPU.
    """
    check_pictures(pictures, references)
    height, width = pictures.shape[1:3]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(
            f"ssim needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got {height} x {width}; "
            "take larger pictures"
        )
    return np.array([_similarity(a, b).mean() for a, b in _pairs(pictures, references)])


def _similarity(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """SSIM of every whole window of one pair, a channel at a time."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _windowed(a), _windowed(b)
    variances = _windowed(a * a) - mean_a**2 + _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * covariance + c2) / (variances + c2)


def _windowed(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian mean of every whole window; the window is the product of a column and a row."""
    taps = np.exp(-0.5 * ((np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2) / SSIM_SIGMA) ** 2)
    taps /= taps.sum()
    rows, columns = (size - SSIM_WINDOW + 1 for size in picture.shape[:2])
    tall: NDArray[np.float64] = sum(tap * picture[i : i + rows] for i, tap in enumerate(taps))
    return sum(tap * tall[:, i : i + columns] for i, tap in enumerate(taps))


def _pairs(
    pictures: NDArray[np.uint8], references: NDArray[np.uint8]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Each picture with its reference in fp64; one pair at a time, as a batch in fp64 may not fit in memory."""
    for picture, reference in zip(pictures, references, strict=True):
        yield picture.astype(np.float64, order="C"), reference.astype(np.float64, order="C")
