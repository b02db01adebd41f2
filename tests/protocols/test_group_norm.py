import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sfumato.protocols.group_norm import merge_as_published, merge_exact, normalise


def strips_of(features, cuts, groups):
    pieces = [features[:, :, a:b] for a, b in itertools.pairwise(cuts)]
    moments = [torch.var_mean(p.reshape(p.shape[0], groups, -1), dim=-1, correction=0) for p in pieces]
    mean, variance = torch.stack([m for _, m in moments]), torch.stack([v for v, _ in moments])
    return mean, variance, torch.tensor([float(p.shape[2]) for p in pieces])


@given(
    cuts=st.lists(st.integers(1, 11), min_size=1, max_size=5, unique=True),
    offset=st.sampled_from([0.0, 3.0, 100.0]),
    seed=st.integers(0, 2**16),
)
def test_exact_merge_equals_group_norm(cuts, offset, seed):
    generator = torch.Generator().manual_seed(seed)
    norm = nn.GroupNorm(2, 6)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(6, generator=generator))
        norm.bias.copy_(torch.randn(6, generator=generator))
    # A slope over the rows, so that strips differ in mean and the published merge would show.
    features = torch.randn(2, 6, 12, 4, generator=generator) + offset + torch.arange(12.0).view(1, 1, -1, 1)
    mean, variance = merge_exact(*strips_of(features, [0, *sorted(cuts), 12], 2))
    with torch.no_grad():
        torch.testing.assert_close(normalise(features, mean, variance, norm), norm(features), atol=2e-4, rtol=1e-3)


def test_published_merge_drops_the_variance_between_strips():
    # Two constant strips, -1 and +1: each has variance 0, the whole has variance 1.
    features = torch.cat([-torch.ones(1, 2, 2, 3), torch.ones(1, 2, 2, 3)], dim=2)
    mean, variance, counts = strips_of(features, [0, 2, 4], 1)
    assert merge_as_published(mean, variance)[1].item() == 0.0
    assert merge_exact(mean, variance, counts)[1].item() == pytest.approx(1.0)


def test_the_two_merges_agree_on_one_strip():
    features = torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    mean, variance, counts = strips_of(features, [0, 6], 2)
    assert torch.equal(merge_exact(mean, variance, counts)[1], merge_as_published(mean, variance)[1])
