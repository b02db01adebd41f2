import numpy as np
import pytest

from sfumato.metrics.pictures import psnr


def test_identical_pictures_have_no_error():
    picture = np.full((4, 5, 3), 7, np.uint8)
    assert psnr(picture, picture) == float("inf")


def test_black_against_white_is_zero_decibel():
    assert psnr(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)) == 0.0


def test_worked_by_hand():
    # One value of twelve is off by 6: MSE = 36 / 12 = 3, and 10 log10(65025 / 3) = 43.3596 dB.
    reference = np.zeros((2, 2, 3), np.uint8)
    picture = reference.copy()
    picture[0, 0, 0] = 6
    assert psnr(picture, reference) == pytest.approx(43.3596, abs=1e-4)


def test_bytes_do_not_wrap_around():
    low, high = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 200, np.uint8)
    assert psnr(low, high) == psnr(high, low)


def test_other_shapes_and_types_are_refused():
    picture = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="must have one shape"):
        psnr(picture, picture[:1])
    with pytest.raises(ValueError, match="must be uint8"):
        psnr(picture, picture.astype(np.float32))
