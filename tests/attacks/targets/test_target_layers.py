"""The table of places to cut, and the paper's names."""

import pytest
import torch
from torch import nn

from sfumato.attacks.targets import TracedNetwork, layers_of
from sfumato.attacks.targets.naming import short_names


def named(target):
    return {layer.name: layer for layer in target.layers()}


def test_the_papers_cuts_of_a_residual_network_lie_at_ends_of_blocks(targets):
    layers = named(targets["tiny-resnet-18"])
    assert [layers[f"L{k}"].path for k in (4, 8, 12, 16)] == [f"resnet.encoder.stages.{s}.layers.1" for s in range(4)]
    assert [layers[f"L{k}"].shapes for k in (4, 12)] == [((1, 8, 16, 16),), ((1, 24, 4, 4),)]
    layers = named(targets["tiny-resnet-50"])
    blocks = [layers[f"L{k}"].path.removeprefix("resnet.encoder.stages.") for k in (12, 24, 36, 48)]
    assert blocks == ["1.layers.0", "2.layers.0", "2.layers.4", "3.layers.2"]
    assert all(len(layers[f"L{k}"].shapes) == 1 for k in (12, 24, 36, 48))


def test_convolutions_inside_blocks_are_counted_too(targets):
    assert sum(name.startswith("L") for name in named(targets["tiny-resnet-50"])) == 48
    assert named(targets["tiny-resnet-18"])["L7"].kind == "ResNetConvLayer"


@pytest.mark.parametrize("family", ["tiny-vit", "tiny-clip"])
def test_transformers_are_cut_after_blocks(targets, family):
    layers = named(targets[family])
    assert [layers[f"L{k}"].shapes for k in (1, 2, 3)] == [((1, 17, 16),)] * 3
    assert "L4" not in layers


@pytest.mark.parametrize("family", ["tiny-detr", "tiny-rt-detr"])
def test_a_detector_is_named_by_its_backbone(targets, family):
    layers = named(targets[family])
    assert layers["L12"].path.startswith("model.backbone.")
    assert layers["L12"].shapes[0] == (1, 32, 2, 2)
    assert layers["output"].shapes[0] == (1, 5, 4)
    assert layers["output"].shapes[1][:2] == (1, 5)


def test_clip_is_inverted_end_to_end_from_its_embedding(targets):
    assert named(targets["tiny-clip"])["output"].shapes == ((1, 8),)


def test_parameters_grow_with_the_cut_and_end_at_all(targets):
    target = targets["tiny-vit"]
    before = [layer.num_parameters_before for layer in target.layers()]
    assert before == sorted(before)
    assert before[0] == 0
    assert before[-1] == sum(value.numel() for value in target.network.parameters())


def test_every_layer_of_the_table_can_be_cut(targets):
    target = targets["tiny-vit"]
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for layer in target.layers():
        features = target.cut(layer.name).first(pixels)
        assert tuple(tuple(part.shape) for part in features) == layer.shapes


def test_ones_own_network_is_listed_by_paths():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Sequential(nn.Conv2d(4, 2, 1)))
    layers = layers_of(TracedNetwork(network, picture_shape=(3, 8, 8)))
    assert [layer.name for layer in layers] == ["input", "0", "1", "2", "2.0", "output"]
    assert short_names(network) == {}
