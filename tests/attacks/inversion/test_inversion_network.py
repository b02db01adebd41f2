"""Networks fit whatever crosses a cut, and use all of it."""

import pytest
import torch

from sfumato.attacks.inversion.inversion_network import (
    InversionNetwork,
    Layout,
    as_wide_as,
    count_parameters,
    feature_shapes,
)

LATENT = (4, 8, 8)


def layout(*shapes, output=LATENT, inner=(8, 8), num_frames=1):
    return Layout(features=shapes, output=output, inner=inner, num_frames=num_frames)


def features_of(shapes, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count * shape[0], *shape[1:], generator=generator) for shape in shapes)


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 3, 8, 8),),
        ((1, 3, 16, 16), (1, 5, 4, 4)),
        ((1, 3, 7, 9),),
        ((1, 49),),
        ((1,),),
        ((1, 17, 6),),
        ((1, 16, 6),),
        ((1, 7, 6),),
        ((4, 5, 3, 3), (1, 10)),
    ],
    ids=["map", "two maps", "odd", "vector", "number", "tokens", "tokens alone", "no square", "windows and a vector"],
)
def test_any_features_give_an_output_and_take_a_gradient(shapes):
    network = InversionNetwork(layout(*shapes), 4)
    features = tuple(part.requires_grad_() for part in features_of(shapes, 3))
    assert feature_shapes(features, 3) == shapes
    found = network(features, 3)
    assert found.shape == (3, *LATENT)
    found.square().sum().backward()
    assert all(part.grad.abs().sum() > 0 for part in features)


@pytest.mark.parametrize(("output", "inner"), [((3, 32, 32), (8, 8)), ((3, 8, 16), (4, 8)), ((4, 2, 2), (2, 2))])
def test_outputs_are_as_large_as_they_are_to_be(output, inner):
    network = InversionNetwork(layout((1, 5, 4, 4), output=output, inner=inner), 4).eval()
    assert network(features_of([(1, 5, 4, 4)], 2), 2).shape == (2, *output)


def test_larger_maps_lose_nothing_where_they_are_a_whole_multiple():
    """Each value of a map of twice the sides changes the output."""
    network = InversionNetwork(layout((1, 1, 16, 16)), 4).eval()
    (part,) = features_of([(1, 1, 16, 16)], 1)
    network((part.requires_grad_(),), 1).square().sum().backward()
    assert (part.grad != 0).all()


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("shapes", [((1, 24, 8, 8),), ((1, 49),)], ids=["map", "vector"])
def test_all_forms_have_equally_many_parameters(shapes, frames):
    wanted = count_parameters(layout(*shapes, num_frames=frames), 24)
    for other in (layout(*shapes, output=(3, 32, 32), num_frames=frames), layout(*shapes)):
        found = count_parameters(other, as_wide_as(wanted, other))
        assert found == pytest.approx(wanted, rel=0.05)
    assert wanted == sum(v.numel() for v in InversionNetwork(layout(*shapes, num_frames=frames), 24).parameters())


def test_frames_begin_apart_and_the_mixing_layer_joins_them():
    shapes = [(1, 5, 4, 4)]
    network = InversionNetwork(layout(*shapes, num_frames=2), 4).eval()
    (part,) = features_of(shapes, 4)
    changed = part.clone()
    changed[1] += 1.0
    before, apart = network((part,), 4), network((changed,), 4)
    assert torch.equal(before[0], apart[0])
    assert not torch.equal(before[1], apart[1])
    with torch.no_grad():
        network.mix.weight += 0.1 * torch.randn(network.mix.weight.shape, generator=torch.Generator().manual_seed(1))
    before, joined = network((part,), 4), network((changed,), 4)
    assert not torch.allclose(before[0], joined[0], atol=1e-4), "the clip's other frame"
    assert torch.equal(before[2:], joined[2:]), "another clip"
