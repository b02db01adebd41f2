"""Cells in each number format of the wire, there and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.protocols.strip_split.packing import Memory, pack, packed_shapes, unpack, wire_dtype

WIRES = ["fp32", "fp16", "int8"]


@st.composite
def some_cells(draw) -> tuple[torch.Tensor, int]:
    shape = draw(st.tuples(st.integers(1, 2), st.integers(1, 70), st.integers(0, 9)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    scale = 10.0 ** draw(st.integers(-6, 4))
    return scale * torch.randn(shape, generator=generator), draw(st.sampled_from([1, 7, 32, 64]))


def groups_of(cells: torch.Tensor, group: int) -> int:
    """How many scales a cell has: the fewest that divide the channels into groups that are small enough."""
    return next(n for n in range(1, cells.shape[1] + 1) if cells.shape[1] % n == 0 and cells.shape[1] // n <= group)


@given(some_cells(), st.sampled_from(WIRES))
def test_shapes_and_formats_are_those_that_are_checked(case, wire):
    cells, group = case
    packed = pack(cells, wire, group)
    values, scales = packed_shapes(tuple(cells.shape), wire, group)
    assert (tuple(packed.values.shape), packed.values.dtype) == (values, wire_dtype(wire))
    assert (None if packed.scales is None else tuple(packed.scales.shape)) == scales
    if packed.scales is not None:
        assert packed.scales.dtype == torch.float16
        assert packed.scales.shape[1] == groups_of(cells, group)
        assert packed.scales.isfinite().all()
    assert unpack(packed, torch.float32, wire).shape == cells.shape


@given(some_cells())
def test_fp32_is_exact_and_fp16_is_rounding(case):
    cells, group = case
    assert torch.equal(unpack(pack(cells, "fp32", group), torch.float32, "fp32"), cells)
    assert torch.equal(unpack(pack(cells, "fp16", group), torch.float32, "fp16"), cells.half().float())


@given(some_cells())
def test_an_integer_is_never_further_off_than_half_a_step(case):
    cells, group = case
    packed = pack(cells, "int8", group)
    back = unpack(packed, torch.float32, "int8")
    steps = packed.scales.float().repeat_interleave(cells.shape[1] // packed.scales.shape[1], dim=1)
    # A hair for the rounding of the product itself.
    assert ((back - cells).abs() <= 0.5 * steps * (1 + 1e-4)).all()
    largest = cells.unflatten(1, (packed.scales.shape[1], -1)).abs().amax(2)
    assert (packed.scales.float() <= (largest / 127 * 1.003).clamp_min(2.0**-14)).all(), "no coarser than need be"


def test_a_cell_does_not_spoil_its_neighbour():
    cells = torch.full((1, 64, 2), 0.01)
    cells[0, 0, 0] = 1000.0
    back = unpack(pack(cells, "int8", 64), torch.float32, "int8")
    assert (back[..., 1] - 0.01).abs().max() < 1e-4
    assert back[0, 5, 0] == 0.0


@pytest.mark.parametrize("wire", WIRES)
def test_zeros_stay_zeros(wire):
    assert torch.equal(unpack(pack(torch.zeros(2, 6, 3), wire, 4), torch.float32, wire), torch.zeros(2, 6, 3))


def test_tiny_values_are_lost_and_huge_ones_are_not():
    tiny = torch.full((1, 4, 1), 1e-7)
    assert unpack(pack(tiny, "int8", 4), torch.float32, "int8").abs().max() == 0
    huge = torch.tensor([1e6, -1e6, 5e5, 0.0]).view(1, 4, 1)
    assert (unpack(pack(huge, "int8", 4), torch.float32, "int8") - huge).abs().max() <= 0.5 * 1e6 / 127 * 1.01


@given(some_cells(), st.integers(0, 2**16))
def test_four_bits_are_never_further_off_than_half_a_step(case, seed):
    cells, group = torch.cat([case[0], case[0].flip(1)], dim=1), case[1]
    packed = pack(cells, "int4", group)
    assert packed.values.shape[1] == cells.shape[1] // 2
    back = unpack(packed, torch.float32, "int4")
    steps = packed.scales.float().repeat_interleave(cells.shape[1] // packed.scales.shape[1], dim=1)
    assert ((back - cells).abs() <= 0.5 * steps * (1 + 1e-4)).all()


def test_differences_of_what_hardly_changes_lose_less_and_no_error_adds_up():
    generator = torch.Generator().manual_seed(0)
    sender, receiver = Memory(), Memory()
    cells, errors = torch.randn(1, 64, 50, generator=generator), []
    for step in range(40):
        wire = "int4" if step else "int8"
        packed = sender.pack("here", cells, wire, 64)
        errors.append(float((receiver.unpack("here", packed, wire) - cells).abs().max()))
        cells = cells + 0.01 * torch.randn(1, 64, 50, generator=generator)
    at_once = unpack(pack(cells, "int4", 64), torch.float32, "int4")
    assert max(errors[1:]) < 0.1 * float((at_once - cells).abs().max())
    assert max(errors[20:]) < 1.5 * max(errors[1:20])


def test_one_scale_a_cell_where_the_channels_have_no_smaller_divisor():
    assert packed_shapes((1, 67, 2), "int8", 32)[1] == (1, 67, 2)
    assert packed_shapes((1, 67, 2), "int8", 67)[1] == (1, 1, 2)
    assert packed_shapes((1, 96, 2), "int8", 64)[1] == (1, 2, 2)
    assert packed_shapes((1, 1, 2), "int8", 64)[1] == (1, 1, 2)


@pytest.mark.parametrize("wire", WIRES)
def test_on_the_meta_device_nothing_is_looked_at(wire):
    packed = pack(torch.empty(2, 64, 5, device="meta"), wire, 32)
    assert packed.values.shape == packed_shapes((2, 64, 5), wire, 32)[0]
    assert unpack(packed, torch.float32, wire).is_meta
