"""Tiles and halos against the whole map, for any size and any number of tiles."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sfumato.protocols.strip_split.layers import convolve_tile
from sfumato.protocols.strip_split.tiling import Reach, Tiling, tiling_of

NUM_LEVELS = 3


@st.composite
def tilings(draw) -> Tiling:
    height, width = draw(st.integers(1, 26)), draw(st.integers(1, 26))
    deepest = [-(-length // 2 ** (NUM_LEVELS - 1)) for length in (height, width)]
    rows, columns = (draw(st.integers(1, d)) for d in deepest)
    return Tiling(height, width, rows, columns, NUM_LEVELS)


@st.composite
def convolved(draw) -> tuple[Tiling, int, Reach]:
    reach: Reach = draw(st.sampled_from(["conv", "down", "up"]))
    levels = {"conv": (0, NUM_LEVELS - 1), "down": (0, NUM_LEVELS - 2), "up": (1, NUM_LEVELS - 1)}[reach]
    return draw(tilings()), draw(st.integers(*levels)), reach


def whole_layer(conv: nn.Conv2d, features: torch.Tensor, reach: Reach, size: tuple[int, int]) -> torch.Tensor:
    """The unsplit layer, as diffusers runs it."""
    if reach == "up":
        features = F.interpolate(features, size=size, mode="nearest")
    return F.conv2d(features, conv.weight, conv.bias, stride=2 if reach == "down" else 1, padding=1)


@given(tilings(), st.integers(0, NUM_LEVELS - 1))
def test_tiles_cover_every_cell_once_and_none_is_empty(tiling, level):
    covered = torch.zeros(tiling.size(level), dtype=torch.int64)
    for tile in tiling.tiles(level):
        assert min(tile.shape) >= 1
        covered[tile.slices] += 1
    assert (covered == 1).all()
    assert len(tiling.tiles(level)) == tiling.num_rows * tiling.num_columns


@given(convolved())
def test_what_a_tile_needs_is_its_own_cells_and_a_ring_in_order(case):
    tiling, level, reach = case
    height, width = tiling.size(level)
    cells = torch.arange(height * width).view(height, width)
    for halo in tiling.halos(level, reach):
        needed, own = cells[halo.needed.slices].flatten(), cells[halo.own.slices].flatten()
        assert torch.equal(needed[halo.ring], halo.ring_in_map)
        assert torch.equal(own[halo.given], halo.given_in_map)
        assert (halo.ring_in_map.diff() > 0).all()
        assert (halo.given_in_map.diff() > 0).all()
        ring = set(halo.ring_in_map.tolist())
        assert ring == set(needed.tolist()) - set(own.tolist())
        assert ring.isdisjoint(own.tolist())


@given(convolved())
def test_a_ring_is_at_most_one_cell_wide(case):
    for halo in case[0].halos(*case[1:]):
        for own, needed in zip(halo.own, halo.needed, strict=True):
            assert own.start - 1 <= needed.start <= own.start
            assert own.stop <= needed.stop <= own.stop + 1


@given(convolved())
def test_what_some_need_is_exactly_what_the_others_give(case):
    tiling, level, reach = case
    halos = tiling.halos(level, reach)
    for halo in halos:
        own = set(halo.own.mask(*tiling.size(level)).flatten().nonzero().flatten().tolist())
        others = (h.ring_in_map.tolist() for h in halos if h is not halo)
        assert set(halo.given_in_map.tolist()) == own & set().union(*others)


@settings(max_examples=80)
@given(case=convolved(), seed=st.integers(0, 2**16))
def test_layers_on_tiles_put_together_are_the_layer_on_the_map(case, seed):
    tiling, level, reach = case
    torch.manual_seed(seed)
    conv = nn.Conv2d(2, 3, 3, stride=2 if reach == "down" else 1, padding=1).requires_grad_(False)
    features = torch.randn(1, 2, *tiling.size(level))
    target = level + {"conv": 0, "down": 1, "up": -1}[reach]
    whole = whole_layer(conv, features, reach, tiling.size(target))
    assert tuple(whole.shape[2:]) == tiling.size(target)
    together = torch.full_like(whole, float("nan"))
    for halo, output in zip(tiling.halos(level, reach), tiling.tiles(target), strict=True):
        together[(..., *output.slices)] = convolve_tile(conv, features[(..., *halo.needed.slices)], halo)
    torch.testing.assert_close(together, whole, atol=1e-5, rtol=1e-5)


def test_one_row_and_one_cell_are_tiles_too():
    strips = Tiling(32, 20, 8, 1, 3)
    assert [t.shape for t in strips.tiles(2)] == [(1, 5)] * 8
    inner = strips.halos(2, "conv")[3]
    assert len(inner.given) == 5, "the one row is both the top and the bottom"
    assert len(inner.ring) == 10
    cells = Tiling(8, 8, 2, 2, 3)
    assert [t.shape for t in cells.tiles(2)] == [(1, 1)] * 4
    assert [len(h.ring) for h in cells.halos(2, "conv")] == [3] * 4


def test_quadrants_have_shorter_borders_than_strips():
    strips, quadrants = Tiling(64, 64, 4, 1, 4), Tiling(64, 64, 2, 2, 4)
    count = [sum(len(h.ring) for h in tiling.halos(0, "conv")) for tiling in (strips, quadrants)]
    assert count == [6 * 64, 4 * (32 + 32 + 1)]


@pytest.mark.parametrize(
    ("size", "tiles", "sentence"),
    [
        ((32, 8), (9, 1), "a latent of 32 rows can be cut into at most 8 tiles down, got 9: use fewer clouds"),
        ((32, 9), (1, 4), "a latent of 9 columns can be cut into at most 3 tiles across, got 4"),
        ((0, 9), (1, 1), "a latent of 0 rows can be cut into at most 0 tiles down, got 1"),
        ((9, -4), (1, 1), "a latent of -4 columns can be cut into at most -1 tiles across, got 1"),
    ],
)
def test_more_tiles_than_the_deepest_map_has_room_for(size, tiles, sentence):
    with pytest.raises(ValueError, match=sentence):
        Tiling(*size, *tiles, 3)


@pytest.mark.parametrize(
    ("num_tiles", "size", "found"),
    [
        (1, (64, 64), (1, 1)),
        (2, (64, 64), (2, 1)),
        (4, (64, 64), (2, 2)),
        (8, (64, 64), (4, 2)),
        (8, (64, 128), (2, 4)),
        (4, (64, 12), (4, 1)),
        (5, (64, 64), (5, 1)),
        (5, (16, 64), (1, 5)),
    ],
)
def test_tiles_are_cut_where_borders_are_shortest_of_all_that_fit(num_tiles, size, found):
    tiling = tiling_of(num_tiles, 0, *size, 4)
    assert (tiling.num_rows, tiling.num_columns) == found
    chosen = tiling_of(num_tiles, 1, 64, 64, 4)
    assert (chosen.num_rows, chosen.num_columns) == (num_tiles, 1)


def test_a_number_of_tiles_that_fits_no_way_is_refused_at_once():
    with pytest.raises(ValueError, match="64 rows can be cut into at most 8 tiles down, got 1000000000000: use fewer"):
        tiling_of(10**12, 0, 64, 2**50, 4)
