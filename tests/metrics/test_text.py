import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.metrics import text
from sfumato.metrics.text import clip_score, own_text_nearest, retrieval_accuracy


def test_clip_best_and_worst_case():
    images = np.random.default_rng(0).normal(size=(3, 8))
    np.testing.assert_allclose(clip_score(images, 2 * images), [100] * 3)
    np.testing.assert_array_equal(clip_score(images, -images), [0] * 3)
    assert (clip_score(images, images) <= 100).all()


def test_clip_by_hand():
    # (3, 4) and (1, 0): cosine 3 / 5. (0, 2) and (1, 1): 1 / sqrt 2. (1, 0) and (-1, 1): negative, so 0.
    images = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    texts = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])
    np.testing.assert_allclose(clip_score(images, texts), [60, 70.710678, 0])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


@given(seed=st.integers(0, 2**32), n=st.integers(1, 6), single=st.booleans())
def test_against_brute_force_and_one_by_one(seed, n, single):
    images, texts = np.random.default_rng(seed).normal(size=(2, n, 4)).astype(np.float32 if single else np.float64)
    found = clip_score(images, texts)
    assert found.shape == (n,)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [100 * max(0, cosine(images[i], texts[i])) for i in range(n)], atol=1e-10)
    np.testing.assert_allclose(
        found, [clip_score(images[i : i + 1], texts[i : i + 1])[0] for i in range(n)], atol=1e-10
    )
    hits = [
        all(cosine(images[i], texts[i]) > cosine(images[i], texts[j]) for j in range(n) if j != i) for i in range(n)
    ]
    np.testing.assert_array_equal(own_text_nearest(images, texts), hits)
    assert retrieval_accuracy(images, texts) == pytest.approx(sum(hits) / n)


def test_retrieval_best_and_worst_case():
    pairs = np.eye(4)
    assert retrieval_accuracy(pairs, 3 * pairs) == 1
    assert retrieval_accuracy(pairs, np.roll(pairs, 1, axis=0)) == 0
    assert retrieval_accuracy(pairs[:1], pairs[:1]) == 1


def test_retrieval_by_hand():
    # Picture 0 is nearest to its own text; picture 1, at 40 degrees, is nearer to text 0 (0) than to text 1 (90);
    # picture 2 points at its own text.
    images = np.array([[1.0, 0.1], [math.cos(math.radians(40)), math.sin(math.radians(40))], [-1.0, 0.0]])
    texts = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(own_text_nearest(images, texts), [1, 0, 1])
    assert retrieval_accuracy(images, texts) == pytest.approx(2 / 3)


def test_ties_count_against():
    assert retrieval_accuracy(np.ones((5, 3)), np.ones((5, 3))) == 0
    # Equal captions at other positions and lengths, where rounding may differ.
    texts = np.random.default_rng(0).normal(size=(40, 33))
    images = texts + 0.01
    texts[-1] = texts[0] * 7.3
    assert own_text_nearest(images, texts)[0] == 0
    assert own_text_nearest(images, texts)[1:-1].all()


def test_many_pictures_go_in_parts(monkeypatch):
    images = np.random.default_rng(0).normal(size=(23, 6))
    texts = images + np.random.default_rng(1).normal(size=images.shape)
    whole = own_text_nearest(images, texts)
    assert 0 < whole.mean() < 1
    monkeypatch.setattr(text, "_PICTURES_AT_ONCE", 5)
    np.testing.assert_array_equal(own_text_nearest(images, texts), whole)


@pytest.mark.parametrize("metric", [clip_score, retrieval_accuracy, own_text_nearest])
def test_bad_arguments(metric):
    rows = np.ones((2, 3))
    with pytest.raises(ValueError, match="image_embeds must be a NumPy array of floats, got list"):
        metric([[1.0]], rows)
    with pytest.raises(ValueError, match=r"text_embeds must have shape \(n, d\)"):
        metric(rows, rows[0])
    with pytest.raises(ValueError, match="image_embeds must have at least 1 rows"):
        metric(rows[:0], rows[:0])
    with pytest.raises(ValueError, match=r"must have one shape, got \(2, 3\) and \(2, 2\)"):
        metric(rows, rows[:, :2])
    with pytest.raises(ValueError, match="text_embeds must have no row of length 0, got one at 1"):
        metric(rows, np.array([[1.0, 0, 0], [0, 0, 0]]))
    with pytest.raises(ValueError, match="image_embeds must be finite"):
        metric(rows * np.nan, rows)
