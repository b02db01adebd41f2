"""The differentiable preprocessing against the processors it stands for."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from sfumato.attacks.targets import Preprocessing, preprocessing_of
from sfumato.errors import Unsupported

SIZES = ((64, 96), (128, 70), (33, 200))
"""Heights and widths; the last is narrower than most crops."""
LEVELS = {"bilinear": 1.01, "bicubic": 1.25}
"""Grey levels by which rounding to bytes after each direction may move a value."""


def processor(name, **settings):
    kind = getattr(transformers, f"{name}ImageProcessorPil", None) or getattr(transformers, f"{name}ImageProcessor")
    return kind(**settings)


PROCESSORS = {
    "square": ("ViT", {"size": {"height": 40, "width": 48}}),
    "enlarged": ("ViT", {"size": {"height": 224, "width": 224}, "do_normalize": False}),
    "as it is": ("ViT", {"do_resize": False}),
    "bytes": ("ViT", {"do_resize": False, "do_rescale": False, "do_normalize": False}),
    "shortest edge": ("CLIP", {"size": {"shortest_edge": 50}, "crop_size": {"height": 41, "width": 47}}),
    "percent of crop": ("ConvNext", {"size": {"shortest_edge": 50}, "crop_pct": 0.875}),
    "warped": ("ConvNext", {"size": {"shortest_edge": 384}}),
    "detector": ("Detr", {"size": {"shortest_edge": 80, "longest_edge": 100}}),
    "detector without mean": ("RTDetr", {"size": {"height": 64, "width": 64}}),
}


def noisy(height, width):
    """Smooth shapes with single pixels of any colour: what resizing filters treat most differently."""
    generator = np.random.default_rng((height, width))
    smooth = Image.fromarray(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((width, height))
    specks = generator.random((height, width, 1)) < 0.2
    return np.where(specks, generator.integers(0, 256, (height, width, 3)), smooth).astype(np.uint8)


def as_tensor(picture):
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", PROCESSORS)
def test_it_does_what_the_processor_does(case, size):
    name, settings = PROCESSORS[case]
    stock = processor(name, **settings)
    ours = preprocessing_of(stock)
    picture = noisy(*size)
    wanted = stock(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    found = ours(as_tensor(picture))
    assert tuple(found.shape[-2:]) == tuple(wanted.shape[-2:]) == ours.size_of(*size)
    level = ours.scale / torch.tensor(ours.std).view(1, 3, 1, 1) / 255
    tolerance = LEVELS[ours.filter] if ours.size else 1e-3
    assert ((found - wanted) / level).abs().max() <= tolerance


def test_pictures_that_need_no_resize_are_normalised_only():
    ours = preprocessing_of(processor("CLIP", size={"shortest_edge": 33}, crop_size={"height": 33, "width": 60}))
    pictures = torch.rand(2, 3, 33, 60, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (ours.mean, ours.std))
    assert torch.equal(ours(pictures), (pictures - mean) / std)


def test_every_pixel_of_the_crop_gets_a_gradient():
    ours = preprocessing_of(processor("ConvNext", size={"shortest_edge": 28}, crop_pct=0.875))
    pictures = (0.2 + 0.6 * torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))).double()
    pictures.requires_grad_()
    ours(pictures).square().sum().backward()
    assert pictures.grad[..., 4:36, 4:36].abs().gt(0).all()
    assert torch.autograd.gradcheck(ours, pictures.detach().requires_grad_(), fast_mode=True)


def test_a_batch_is_its_pictures_one_by_one():
    ours = preprocessing_of(processor("ConvNext", size={"shortest_edge": 28}))
    pictures = torch.rand(3, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(pictures), torch.cat([ours(picture[None]) for picture in pictures]))


@pytest.mark.parametrize(
    "wrong", [torch.rand(3, 8, 8), torch.rand(1, 1, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]
)
def test_what_is_no_colour_picture_is_refused(wrong):
    with pytest.raises(ValueError, match=r"pictures must have the shape .* convert them to red-green-blue floats"):
        preprocessing_of(processor("ViT"))(wrong)


def test_pictures_below_the_crop_are_refused():
    ours = preprocessing_of(processor("CLIP", do_resize=False, crop_size={"height": 41, "width": 47}))
    with pytest.raises(ValueError, match="pictures of 40 x 60 are smaller than the 41 x 47"):
        ours(torch.rand(1, 3, 40, 60))


@pytest.mark.parametrize(
    ("stock", "sentence"),
    [
        (processor("ViT", resample=1), "resizes with Pillow's filter 1: use bilinear or bicubic"),
        (
            processor("GLPN"),
            "cannot be differentiated through",
        ),
        (processor("Detr", size={"max_height": 40, "max_width": 40}), "whose size names max_height, max_width"),
    ],
)
def test_processors_of_unknown_effect_are_refused(stock, sentence):
    with pytest.raises(Unsupported, match=sentence):
        preprocessing_of(stock)


def test_ones_own_preprocessing_needs_no_processor():
    plain = Preprocessing(size=None, filter="bilinear", crop=None, scale=1.0, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert plain(torch.ones(1, 3, 2, 2)).eq(1).all()
