import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sfumato.metrics.pictures import mean_absolute_psnr, psnr, ssim

ALL = pytest.mark.parametrize("metric", [psnr, mean_absolute_psnr, ssim])


def flat(value: int, size: int = 12) -> np.ndarray:
    return np.full((1, size, size, 3), value, np.uint8)


def noisy_pairs(
    seed: int, batch: int, height: int, width: int, largest_error: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth references, and pictures that differ by at most that much at every byte."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width][..., None]
    references = 127 + 60 * np.sin(y / 5 + random.normal(size=(batch, 1, 1, 3))) + 60 * np.cos(x / 7)
    errors = random.integers(-largest_error, largest_error + 1, references.shape)
    return tuple(np.clip(p, 0, 255).astype(np.uint8) for p in (references + errors, references))


@ALL
def test_best_case_is_the_picture_itself(metric):
    _, picture = noisy_pairs(0, 2, 14, 13)
    best = 1.0 if metric is ssim else np.inf
    np.testing.assert_array_equal(metric(picture, picture), [best, best])


def test_worst_case_is_black_against_white():
    assert psnr(flat(0), flat(255)) == [0.0]
    assert mean_absolute_psnr(flat(0), flat(255)) == [0.0]
    # No variance, so c1 / (255^2 + c1) with c1 = 2.55^2 = 6.5025.
    assert ssim(flat(0), flat(255))[0] == pytest.approx(6.5025 / 65031.5025)


def test_worst_structure_is_a_chessboard_and_its_negative():
    board = np.indices((20, 20)).sum(axis=0) % 2 * 255
    board = np.repeat(board[None, ..., None], 3, axis=-1).astype(np.uint8)
    assert -1 <= ssim(board, 255 - board)[0] < -0.99


def test_psnr_by_hand():
    # One value of twelve is off by 6: MSE = 36 / 12 = 3, and 10 log10(65025 / 3) = 43.3596 dB.
    pictures = np.zeros((1, 2, 2, 3), np.uint8)
    pictures[0, 0, 0, 0] = 6
    assert psnr(pictures, np.zeros_like(pictures))[0] == pytest.approx(43.3596, abs=1e-4)


def test_mean_absolute_psnr_by_hand():
    # One value of twelve is off by 6: MAE = 6 / 12 = 0.5, and 10 log10(255 / 0.5) = 27.0757 dB.
    pictures = np.zeros((1, 2, 2, 3), np.uint8)
    pictures[0, 0, 0, 0] = 6
    assert mean_absolute_psnr(pictures, np.zeros_like(pictures))[0] == pytest.approx(27.0757, abs=1e-4)


def test_ssim_by_hand():
    # Flat pictures have no variance: (2 * 100 * 50 + 6.5025) / (100^2 + 50^2 + 6.5025) = 0.800104.
    assert ssim(flat(100), flat(50))[0] == pytest.approx(0.800104, abs=1e-6)


def test_ssim_is_the_mean_of_the_channels():
    # Two channels agree, one is that of the test above: (1 + 1 + 0.800104) / 3.
    pictures, references = flat(100), flat(100)
    references[..., 1] = 50
    assert ssim(pictures, references)[0] == pytest.approx(2.800104 / 3, abs=1e-6)


def test_ssim_looks_only_through_whole_windows():
    """A change at the outermost pixel is seen by one of the 2 x 2 windows of a picture of 12 x 12 pixels."""
    pictures = flat(100)
    pictures[0, 0, 0] = 255
    windows = [ssim(pictures[:, y : y + 11, x : x + 11], flat(100, 11))[0] for y in (0, 1) for x in (0, 1)]
    assert windows[0] < 1
    assert windows[1:] == [1, 1, 1]
    assert ssim(pictures, flat(100))[0] == pytest.approx(np.mean(windows))


@pytest.mark.parametrize("largest_error", [1, 40, 255])
def test_against_scikit_image(largest_error):
    pictures, references = noisy_pairs(1, 4, 33, 27, largest_error)
    pairs = list(zip(references, pictures, strict=True))
    theirs = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs]
    np.testing.assert_allclose(psnr(pictures, references), theirs, rtol=2e-7)
    theirs = [
        structural_similarity(
            a, b, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in pairs
    ]
    np.testing.assert_allclose(ssim(pictures, references), theirs, rtol=1e-10)


def test_ssim_is_that_of_torchmetrics_less_the_border():
    from torchmetrics.functional.image import structural_similarity_index_measure

    pictures, references = noisy_pairs(2, 2, 16, 21)
    a, b = (torch.from_numpy(p.astype(np.float64)).permute(0, 3, 1, 2) for p in (pictures, references))
    _, whole = structural_similarity_index_measure(a, b, data_range=255.0, reduction="none", return_full_image=True)
    np.testing.assert_allclose(ssim(pictures, references), whole[..., 5:-5, 5:-5].mean((1, 2, 3)), rtol=1e-10)


@given(seed=st.integers(0, 2**32), largest_error=st.integers(1, 255))
def test_mean_absolute_psnr_is_never_above_psnr(seed, largest_error):
    pictures, references = noisy_pairs(seed, 3, 4, 5, largest_error)
    assert (mean_absolute_psnr(pictures, references) <= psnr(pictures, references) + 1e-5).all()


def test_mean_absolute_psnr_is_half_of_psnr_where_errors_are_equal():
    assert 2 * mean_absolute_psnr(flat(7), flat(8)) == pytest.approx(psnr(flat(7), flat(8)))


@ALL
@given(seed=st.integers(0, 2**32), batch=st.integers(1, 4), height=st.integers(11, 14), width=st.integers(11, 14))
def test_a_batch_is_its_pictures_and_sides_can_change(metric, seed, batch, height, width):
    pictures, references = noisy_pairs(seed, batch, height, width)
    found = metric(pictures, references)
    assert found.shape == (batch,)
    assert found.dtype == np.float64
    one_by_one = [metric(pictures[i : i + 1], references[i : i + 1])[0] for i in range(batch)]
    np.testing.assert_array_equal(found, one_by_one)
    np.testing.assert_allclose(found, metric(references, pictures), rtol=1e-12)


@ALL
def test_any_memory_layout(metric):
    """Pictures from files are read-only; views may run backwards."""
    pictures, references = noisy_pairs(3, 2, 12, 15)
    expected = metric(pictures[:, ::-1].copy(), references[:, ::-1].copy())
    pictures.flags.writeable = False
    np.testing.assert_array_equal(metric(pictures[:, ::-1], references[:, ::-1]), expected)


@ALL
def test_bad_arguments(metric):
    pictures = flat(0)
    with pytest.raises(
        ValueError, match=r"^pictures must be a NumPy array of uint8, got float32 of shape \(1, 12, 12, 3\); r"
    ):
        metric(pictures.astype(np.float32), pictures)
    with pytest.raises(ValueError, match="references must be a NumPy array of uint8, got list"):
        metric(pictures, [1, 2])
    with pytest.raises(ValueError, match=r"pictures must have shape \(batch, height, width, 3\).*take picture\[None\]"):
        metric(pictures[0], pictures[0])
    with pytest.raises(
        ValueError, match=r"must have shape \(batch, height, width, 3\), got uint8 of shape \(1, 12, 12, 1"
    ):
        metric(pictures[..., :1], pictures[..., :1])
    with pytest.raises(ValueError, match="at least one picture of at least one pixel"):
        metric(pictures[:0], pictures[:0])
    with pytest.raises(ValueError, match=r"one shape, got \(1, 12, 12, 3\) and \(1, 11, 12, 3\)"):
        metric(pictures, pictures[:, :11])


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 10 x 10; take larger"):
        ssim(flat(0, 10), flat(0, 10))


def test_the_command_line_starts_without_torchmetrics():
    code = (
        "import sys, sfumato.cli.app, sfumato.bench.fidelity, sfumato.metrics.sets, sfumato.metrics.text; "
        "sys.exit('torchmetrics' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
