"""Clips move a little and smoothly, and show one person."""

import numpy as np

from sfumato.portraits.clips import clip


def test_frames_move_a_little_and_on():
    frames, attributes, text = clip(np.random.default_rng(3), 4, size=64)
    other, *_ = clip(np.random.default_rng(4), 1, size=64)
    assert frames.shape == (4, 64, 64, 3)
    first = frames[0].astype(float)
    distances = [np.abs(frame - first).mean() for frame in frames]
    assert 0 < distances[1] < distances[2] < distances[3] < np.abs(other[0] - first).mean() / 2
    assert attributes.values()
    assert text


def test_clips_repeat_and_longer_ones_begin_as_shorter_ones():
    short, _, text = clip(np.random.default_rng(3), 2, size=32)
    long, _, same = clip(np.random.default_rng(3), 4, size=32)
    assert np.array_equal(short, long[:2])
    assert text == same
