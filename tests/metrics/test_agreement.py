import pytest
import torch

from sfumato.metrics.agreement import correlation


def test_best_and_worst():
    x = torch.randn(256, generator=torch.Generator().manual_seed(0))
    assert correlation(2 * x + 1, x) == pytest.approx(1)
    assert correlation(-x, x) == pytest.approx(-1)
    assert correlation(torch.zeros(256), x) == 0
    assert correlation(x[:1], x[:1]) is None


def test_by_hand():
    """Means 1 and 2; products -1*-2 + 0 + 1*2 = 4 over the root of 2 * 8."""
    assert correlation(torch.tensor([0.0, 1, 2]), torch.tensor([0.0, 2, 4])) == pytest.approx(1)
    assert correlation(torch.tensor([0.0, 1, 2]), torch.tensor([0.0, 4, 2])) == pytest.approx(0.5)


def test_other_shapes():
    with pytest.raises(ValueError, match=r"numbers of shape \(2, 3\) cannot be set against \(6,\)"):
        correlation(torch.zeros(2, 3), torch.zeros(6))
