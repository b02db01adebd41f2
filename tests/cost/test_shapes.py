"""Looked-up shapes and FLOPs are those of torch's meta kernels and of its counter."""

import pytest
import torch

from sfumato.cost.shapes import ShapesOnly
from sfumato.models.denoiser import meta_conditioning, predict
from sfumato.models.folder import find_architecture
from sfumato.models.layers import counted_flops
from sfumato.models.skeleton import whole_skeleton


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-sdxl"])
def test_a_unet_has_the_same_output_and_flops(name):
    parts = whole_skeleton(find_architecture(name))
    latent = torch.empty(1, 4, 24, 32, device="meta")
    text = meta_conditioning(parts.config, batch=2, num_tokens=7)

    def run():
        return predict(parts.unet, latent, torch.tensor(1.0), text)

    with torch.no_grad():
        with counted_flops() as flops:
            expected = run()
        for _ in range(2):
            with ShapesOnly() as found:
                output = run()
            assert found.flops == flops() > 0
            assert (output.shape, output.stride(), output.dtype) == (expected.shape, expected.stride(), expected.dtype)


def empty(*shape, dtype=torch.float32):
    return torch.empty(*shape, dtype=dtype, device="meta")


CALLS = {
    "number format by the kind of number": lambda: [empty(2, dtype=torch.int64) * x for x in (1, 1.0, True)],
    "strides": lambda: [empty(3, 4) + 1, empty(4, 3).t() + 1, empty(4, 3).t().contiguous()],
    "several results": lambda: [*empty(5, 4).split([2, 3]), *empty(5, 4).max(1), *empty(6, 2).chunk(2)],
    "options": lambda: [empty(5, 4).amax(1), empty(5, 4).amax(1, keepdim=True), empty(5).to(torch.float16)],
    "indices with values": lambda: [empty(5, 4).index_select(0, torch.tensor([1, 2]).to("meta")), torch.ones(3) * 2],
}


@pytest.mark.parametrize("name", CALLS)
def test_operations_are_told_apart_by_all_that_decides_their_result(name):
    expected = CALLS[name]()
    for _ in range(2):
        with ShapesOnly():
            found = CALLS[name]()
        for a, b in zip(found, expected, strict=True):
            assert (a.shape, a.stride(), a.dtype, a.device) == (b.shape, b.stride(), b.dtype, b.device)


def test_what_works_in_place_gives_its_argument_back():
    for _ in range(2):
        tensor = empty(3)
        with ShapesOnly():
            assert tensor.mul_(2) is tensor


def test_tensors_with_values_keep_them():
    with ShapesOnly():
        assert (torch.arange(4) * 2).tolist() == [0, 2, 4, 6]
