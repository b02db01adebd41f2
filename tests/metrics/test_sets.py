import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from sfumato.metrics.sets import frechet_distance, inception_score


def by_matrix_root(x: np.ndarray, y: np.ndarray) -> float:
    """The formula as it is usually coded, with a general matrix square root."""
    a, b = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y))
    root = scipy.linalg.sqrtm(a @ b)
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a + b - 2 * root).real)


def test_frechet_best_case_is_the_same_set_in_any_order():
    x = np.random.default_rng(0).normal(size=(30, 7))
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(x, x) >= 0


def test_frechet_grows_without_bound():
    x = np.random.default_rng(0).normal(size=(30, 7))
    assert frechet_distance(x, x + 1e4) == pytest.approx(7e8)


def test_frechet_by_hand():
    # Means 1 and 5, variances 2 and 8 (over n - 1): 16 + 2 + 8 - 2 sqrt(2 * 8) = 18.
    assert frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])) == pytest.approx(18)


def test_frechet_of_diagonal_gaussians_has_a_closed_form():
    """Columns of a Hadamard matrix are uncorrelated: the sum of (difference of means)^2 + (difference of sigmas)^2."""
    random = np.random.default_rng(1)
    columns = scipy.linalg.hadamard(16)[:, 1:8] * np.sqrt(15 / 16)
    sigma_x, sigma_y = random.uniform(0, 3, size=(2, 7))
    mean_x, mean_y = random.normal(size=(2, 7))
    expected = np.square(mean_x - mean_y).sum() + np.square(sigma_x - sigma_y).sum()
    assert frechet_distance(mean_x + sigma_x * columns, mean_y + sigma_y * columns) == pytest.approx(expected)


@given(seed=st.integers(0, 2**32), n=st.integers(12, 40), m=st.integers(12, 40), d=st.integers(1, 10))
def test_frechet_against_scipy_root(seed, n, m, d):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(n, d)), random.normal(size=(m, d)) @ random.normal(size=(d, d)) + 1
    assert frechet_distance(x, y) == pytest.approx(by_matrix_root(x, y), rel=1e-7)


def by_eigenvalues(x: np.ndarray, y: np.ndarray) -> float:
    """The formula for singular covariances, where scipy's root fails: eigenvalues of A^(1/2) B A^(1/2)."""
    a, b = (np.cov(z, rowvar=False) for z in (x, y))
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a + b) - 2 * trace)


@given(seed=st.integers(0, 2**32), n=st.integers(2, 8), m=st.integers(2, 30))
def test_frechet_with_fewer_pictures_than_features(seed, n, m):
    """The brute force takes roots of eigenvalues that are 0 but for 1e-16: right to some 1e-8 for each of 12."""
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(n, 12)), random.normal(size=(m, 12)) + 1
    assert frechet_distance(x, y) == pytest.approx(by_eigenvalues(x, y), abs=1e-5)


def test_frechet_of_two_pictures_by_hand():
    # Means (1, 0) and (0, 1): 2. Variances (2, 0) and (0, 2) overlap nowhere: 2 + 2 - 0. Together 6.
    assert frechet_distance(np.array([[0.0, 0], [2, 0]]), np.array([[0.0, 0], [0, 2]])) == pytest.approx(6)


def test_frechet_is_biased_upwards_when_pictures_are_few():
    """Two halves of one distribution: 0 in truth. Few pictures seem farther apart than many, as the docstring says."""
    random = np.random.default_rng(2)
    few, many = (frechet_distance(*random.normal(size=(2, n, 32))) for n in (16, 4096))
    assert few > 20
    assert many < 0.5


@given(seed=st.integers(0, 2**32))
def test_frechet_is_symmetric_and_ignores_rotation(seed):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(9, 5)), random.normal(size=(14, 5)) * 2
    turned, _ = np.linalg.qr(random.normal(size=(5, 5)))
    assert frechet_distance(y, x) == pytest.approx(frechet_distance(x, y))
    assert frechet_distance(x @ turned, y @ turned) == pytest.approx(frechet_distance(x, y))


def test_frechet_bad_arguments():
    x = np.zeros((4, 3))
    with pytest.raises(
        ValueError, match=r"^features must be a NumPy array of floats, got int64 of shape \(4, 3\); use"
    ):
        frechet_distance(x.astype(np.int64), x)
    with pytest.raises(ValueError, match=r"reference_features must have shape \(n, d\), one row a picture"):
        frechet_distance(x, x[0])
    with pytest.raises(
        ValueError, match=r"features must have at least 2 rows, got float64 of shape \(1, 3\); take more"
    ):
        frechet_distance(x[:1], x)
    with pytest.raises(ValueError, match="must have one width, got 3 and 2"):
        frechet_distance(x, x[:, :2])
    with pytest.raises(ValueError, match="features must be finite"):
        frechet_distance(x + np.inf, x)


def test_inception_worst_case_is_one():
    assert inception_score(np.full((6, 4), 0.25)) == pytest.approx(1)
    assert inception_score(np.tile([1.0, 0.0], (6, 1))) == pytest.approx(1)


def test_inception_best_case_is_the_number_of_classes():
    assert inception_score(np.eye(5)) == pytest.approx(5)


def test_inception_by_hand():
    # p(y) = (3/4, 1/4). KL of (1, 0): ln(4/3); of (1/2, 1/2): (ln(2/3) + ln 2) / 2 = ln(4/3) / 2. exp of the mean:
    # (4/3)^(3/4) = 1.240806.
    assert inception_score(np.array([[1.0, 0.0], [0.5, 0.5]])) == pytest.approx(1.240806, abs=1e-6)


def test_inception_splits_are_averaged_in_order():
    # Each half alone has one class, so 1; together they have two, so 2.
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert inception_score(rows, num_splits=2) == pytest.approx(1)
    assert inception_score(rows, num_splits=1) == pytest.approx(2)


def brute_force(rows: np.ndarray) -> float:
    n, classes = rows.shape
    marginal = [sum(rows[i, c] for i in range(n)) / n for c in range(classes)]
    divergence = 0.0
    for i in range(n):
        for c in range(classes):
            if rows[i, c] > 0:
                divergence += rows[i, c] * (math.log(rows[i, c]) - math.log(marginal[c])) / n
    return math.exp(divergence)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 9), classes=st.integers(1, 6))
def test_inception_against_brute_force(seed, n, classes):
    rows = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), size=n)
    score = inception_score(rows)
    assert score == pytest.approx(brute_force(rows))
    assert 1 - 1e-9 <= score <= min(n, classes) + 1e-9


def test_inception_of_single_precision_softmax():
    rows = np.random.default_rng(0).dirichlet(np.ones(1000), size=50)
    assert inception_score(rows.astype(np.float32)) == pytest.approx(inception_score(rows), rel=1e-5)


def test_inception_bad_arguments():
    with pytest.raises(ValueError, match=r"sum to 1 in each row.*apply softmax to logits"):
        inception_score(np.array([[2.0, 1.0]]))
    with pytest.raises(ValueError, match=r"least value of -0\.5"):
        inception_score(np.array([[1.5, -0.5]]))
    with pytest.raises(ValueError, match=r"num_splits must be in \[1, 2\], the number of pictures, got 3"):
        inception_score(np.eye(2), num_splits=3)
    with pytest.raises(ValueError, match="num_splits must be in"):
        inception_score(np.eye(2), num_splits=0)
    with pytest.raises(ValueError, match="probabilities must have at least 1 rows"):
        inception_score(np.zeros((0, 3)))
