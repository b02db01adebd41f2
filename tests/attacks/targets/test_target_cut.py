"""Two halves equal the whole, bit for bit, wherever the cut lies and whatever the network."""

import pytest
import torch
from torch import nn

from sfumato.attacks.targets import CutModel, TracedNetwork
from sfumato.errors import Unsupported

CUTS = {
    "tiny-resnet-18": (
        "input",
        "L1",
        "L4",
        "L7",
        "L8",
        "L12",
        "L16",
        "resnet.encoder.stages.1.layers.0.layer",
        "output",
    ),
    "tiny-resnet-50": ("L12", "L23", "L24", "L36", "L48"),
    "tiny-vit": ("vit.embeddings", "L1", "vit.layers.1.attention.q_proj", "vit.layers.1.mlp.fc1", "L3", "output"),
    "tiny-clip": ("L1", "vision_model.encoder.layers.1.self_attn.k_proj", "L2", "output"),
    "tiny-detr": ("L1", "L6", "L7", "L12", "model.encoder.layers.0", "model.decoder", "output"),
    "tiny-rt-detr": ("L3", "L5", "L12", "model.encoder.fpn_blocks.0.conv1", "output"),
}
"""Ends of blocks, places inside residual blocks and inside attention, and both ends."""


class Fire(nn.Module):
    """As in SqueezeNet: a narrow layer, two wide ones beside each other, activations in place."""

    def __init__(self, inner, narrow, outer):
        super().__init__()
        self.squeeze = nn.Conv2d(inner, narrow, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(narrow, outer, 1)
        self.expand3x3 = nn.Conv2d(narrow, outer, 3, padding=1)

    def forward(self, features):
        narrow = self.squeeze_activation(self.squeeze(features))
        return torch.cat([self.expand1x1(narrow).relu_(), self.expand3x3(narrow).relu_()], 1)


class Own(nn.Module):
    """A user's network: in-place sums, a layer that runs twice, split results, and a mapping as its result."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.fire = Fire(8, 4, 4)
        self.twice = nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 6)

    def forward(self, pixels):
        features = self.stem(pixels)
        summed = self.twice(self.fire(features))
        summed += features
        features = self.norm(self.twice(summed))
        mean, spread = self.head(self.drop(features).mean((2, 3))).chunk(2, dim=1)
        return {"mean": mean, "spread": spread.exp()}


OWN_CUTS = ("input", "stem", "fire.squeeze", "fire.expand1x1", "fire", "twice", "norm", "head", "output")


def assert_equal(found, wanted):
    found, wanted = (x if isinstance(x, tuple) else (x,) for x in (found, wanted))
    assert len(found) == len(wanted)
    for left, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def new_own():
    torch.manual_seed(0)
    return Own()


@pytest.fixture(scope="module")
def own():
    return new_own()


@pytest.fixture(scope="module")
def traced(own):
    return TracedNetwork(own, picture_shape=(3, 20, 24))


@pytest.fixture
def pixels():
    return torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("family", "layer"), [(family, layer) for family, layers in CUTS.items() for layer in layers])
def test_halves_equal_the_whole(targets, family, layer):
    target = targets[family]
    cut = target.cut(layer)
    pictures = torch.rand(2, 3, *target.picture_size, generator=torch.Generator().manual_seed(2))
    pixels = target.preprocess(pictures)
    features = cut.first(pixels)
    assert_equal(cut.second(features), cut.whole(pixels))
    assert not torch.equal(cut.second(tuple(part.flip(0) for part in features))[0], cut.whole(pixels)[0])


@pytest.mark.parametrize("layer", OWN_CUTS)
def test_halves_of_ones_own_network_equal_the_whole(traced, pixels, layer):
    cut = CutModel(traced, layer)
    features = cut.first(pixels)
    kept = [part.clone() for part in features]
    found, wanted = cut.second(features), cut.whole(pixels)
    assert list(found) == ["mean", "spread"]
    assert_equal(tuple(found.values()), tuple(wanted.values()))
    assert_equal(features, tuple(kept))


def test_a_cut_inside_a_residual_block_gives_the_shortcut_too(targets):
    inside, after = targets["tiny-resnet-18"].cut("L7"), targets["tiny-resnet-18"].cut("L8")
    assert inside.feature_shapes == ((1, 16, 8, 8), (1, 16, 8, 8))
    assert after.feature_shapes == ((1, 16, 8, 8),)


def test_a_layer_that_runs_twice_is_cut_after_its_last_run(traced, pixels):
    cut = CutModel(traced, "twice")
    assert len(cut.first(pixels)) == 1


def test_nothing_of_the_picture_crosses_but_the_features(traced, pixels):
    """The second half gives the same result from copies of the features, with the picture gone."""
    cut = CutModel(traced, "fire.squeeze")
    wanted = cut.whole(pixels)["mean"]
    features = tuple(part.detach().clone() for part in cut.first(pixels))
    pixels.zero_()
    assert torch.equal(cut.second(features)["mean"], wanted)


@pytest.mark.parametrize("family", list(CUTS))
def test_the_gradient_reaches_the_picture_through_preprocessing_and_the_first_half(targets, family):
    target = targets[family]
    cut = target.cut(CUTS[family][-2])
    pictures = torch.rand(2, 3, *target.picture_size, generator=torch.Generator().manual_seed(3)).requires_grad_()
    cut.first(target.preprocess(pictures))[0].square().sum().backward()
    assert pictures.grad.abs().amax((1, 2, 3)).gt(0).all()


def test_the_gradient_is_the_whole_networks(traced, pixels):
    cut = CutModel(TracedNetwork(new_own().double(), picture_shape=(3, 20, 24)), "fire")
    through, plain = (pixels.double().requires_grad_() for _ in range(2))
    cut.second(cut.first(through))["mean"].square().sum().backward()
    cut.whole(plain)["mean"].square().sum().backward()
    torch.testing.assert_close(through.grad, plain.grad)
    torch.autograd.gradcheck(lambda x: cut.first(x)[0].mean(), plain.detach().requires_grad_(), fast_mode=True)


def test_the_halves_use_the_networks_own_parameters(traced, pixels):
    own = new_own()
    cut = CutModel(TracedNetwork(own, picture_shape=(3, 20, 24)), "fire")
    with torch.no_grad():
        own.stem.weight.mul_(2)
        own.head.bias.add_(1)
        assert_equal(cut.second(cut.first(pixels))["mean"], cut.whole(pixels)["mean"])


def test_parameters_before_the_cut_are_counted_once(own, traced):
    def counted(*layers):
        return sum(value.numel() for layer in layers for value in getattr(own, layer).parameters())

    assert CutModel(traced, "input").num_parameters_before == 0
    assert CutModel(traced, "stem").num_parameters_before == counted("stem")
    assert CutModel(traced, "twice").num_parameters_before == counted("stem", "fire", "twice")


def test_batches_of_every_size_and_no_gradient(traced, pixels):
    cut = CutModel(traced, "norm")
    with torch.no_grad():
        for batch in (1, 2, 3):
            part = pixels[:batch]
            assert_equal(cut.second(cut.first(part))["mean"], cut.whole(part)["mean"])
    assert cut.first(pixels[:2].clone().requires_grad_())[0].requires_grad


def test_unknown_layers_are_told_with_near_ones(traced, targets):
    with pytest.raises(ValueError, match=r"Own has no layer 'fire.squeeeze': near names are fire.squeeze"):
        CutModel(traced, "fire.squeeeze")
    with pytest.raises(ValueError, match=r"has no layer 'L17': near names are .*L7"):
        targets["tiny-resnet-18"].cut("L17")
    with pytest.raises(ValueError, match=r"Own has no layer 'L4': it has .*, such as input, stem, .*, output"):
        CutModel(traced, "L4")
    with pytest.raises(ValueError, match=r"has no layer 'nowhere': it has .*, such as input, L1, L2, L3, output"):
        targets["tiny-vit"].cut("nowhere")


def test_features_of_another_shape_are_refused(traced, pixels):
    cut = CutModel(traced, "stem")
    (features,) = cut.first(pixels)
    for wrong in ((), (features, features), (features[:, :4],), (features[..., 1:],), (torch.zeros(()),)):
        with pytest.raises(
            ValueError, match=r"features after stem must have the shapes .* take them at the same layer"
        ):
            cut.second(wrong)


def test_pictures_of_another_size_are_refused(traced, pixels):
    cut = CutModel(traced, "stem")
    for wrong in (pixels[..., 1:], pixels[:, :1], pixels[:0], pixels[0]):
        with pytest.raises(ValueError, match=r"pixels must have the shape \(batch, 3, 20, 24\)"):
            cut.first(wrong)


def test_a_network_whose_course_depends_on_the_picture_is_refused():
    class Looking(nn.Module):
        def forward(self, pixels):
            return pixels * 2 if pixels.sum() > 0 else pixels

    with pytest.raises(Unsupported, match=r"Looking cannot be cut: torch.export cannot follow it"):
        CutModel(TracedNetwork(Looking(), picture_shape=(3, 8, 8)), "input")


def test_features_without_a_gradient_are_refused():
    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.pick = nn.Identity()
            self.softmax = nn.Softmax(1)

        def forward(self, pixels):
            return self.softmax(pixels).argmax(1)

    with pytest.raises(Unsupported, match=r"Rounded cannot be inverted by gradient after output: .* earlier layer"):
        CutModel(TracedNetwork(Rounded(), picture_shape=(3, 8, 8)), "output")
    assert CutModel(TracedNetwork(Rounded(), picture_shape=(3, 8, 8)), "softmax").feature_shapes == ((1, 3, 8, 8),)
