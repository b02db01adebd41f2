import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sfumato.protocols.partition import Partition, Rows, window


@st.composite
def partitions(draw):
    height, levels = draw(st.integers(2, 200)), draw(st.integers(1, 4))
    deepest = height
    for _ in range(levels - 1):
        deepest = -(-deepest // 2)
    return Partition(height, draw(st.integers(1, deepest)), levels)


@given(partitions())
def test_strips_cover_every_height_once_and_none_is_empty(partition):
    for height in partition.heights():
        strips = partition.strips(height)
        assert len(strips) == partition.num_strips
        assert [r for s in strips for r in range(s.start, s.stop)] == list(range(height))
        assert all(s.num_rows > 0 for s in strips)


@given(partitions())
def test_a_cut_follows_the_map_down(partition):
    heights = partition.heights()
    for above, below in itertools.pairwise(heights):
        assert partition.cuts[below] == tuple(-(-c // 2) for c in partition.cuts[above])


def test_strips_are_even_where_the_height_allows():
    assert [s.num_rows for s in Partition(64, 4, 4).strips(8)] == [2, 2, 2, 2]
    assert [s.num_rows for s in Partition(32, 8, 3).strips(8)] == [1] * 8


def test_more_strips_than_rows_names_the_limit():
    with pytest.raises(ValueError, match="num_clouds must be at most 8, the rows of the deepest feature map"):
        Partition(32, 9, 3)


def test_a_height_of_another_picture_is_refused():
    with pytest.raises(ValueError, match="does not belong to a latent of 32 rows"):
        Partition(32, 4, 3).strips(30)


@given(
    height=st.integers(1, 40),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    num_strips=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)
def test_convolving_windows_equals_convolving_the_whole(height, kernel, stride, num_strips, seed):
    padding = kernel // 2
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 2, height, 5, generator=generator)
    weight = torch.randn(3, 2, kernel, kernel, generator=generator)
    whole = F.conv2d(features, weight, stride=stride, padding=padding)
    out_height = whole.shape[2]
    cuts = [i * out_height // num_strips for i in range(num_strips + 1)]
    parts = []
    for start, stop in itertools.pairwise(cuts):
        if start == stop:
            continue
        need = window(Rows(start, stop), height, kernel=kernel, stride=stride, padding=padding)
        assert need.rows.start >= 0
        assert need.rows.stop <= height
        rows = F.pad(features[:, :, need.rows.start : need.rows.stop], (0, 0, need.pad_top, need.pad_bottom))
        parts.append(F.conv2d(rows, weight, stride=stride, padding=(0, padding)))
    torch.testing.assert_close(torch.cat(parts, dim=2), whole, atol=1e-4, rtol=1e-4)
