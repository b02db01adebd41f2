"""The targets that ship with the package were really trained, and can be cut."""

import numpy as np
import pytest
import torch

from sfumato.attacks.targets import bundled_targets, load_target
from sfumato.models.folder import BUNDLED
from sfumato.portraits import VALUES, draw_attributes, paint

TRAINED = [name for name in bundled_targets() if name != "portraits-clip"]
NUM_PAINTINGS = 64
SURE = ("gender", "ethnicity", "glasses", "hat", "clothing", "background")
"""Attributes of which at most one of 64 may be misread; seed and pictures are fixed."""


@pytest.fixture(scope="module")
def paintings():
    generator = np.random.default_rng(4_444)
    people = [draw_attributes(generator) for _ in range(NUM_PAINTINGS)]
    pictures = np.stack([paint(person, generator) for person in people])
    return people, torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(255)


def test_the_bundled_targets_are_these():
    assert bundled_targets() == ["portraits-clip", "portraits-resnet", "portraits-vit"]


def test_trained_targets_are_small():
    files = [file for name in TRAINED for file in (BUNDLED / name).iterdir()]
    assert sum(file.stat().st_size for file in files) <= 6_000_000


@pytest.mark.parametrize("name", TRAINED)
def test_trained_targets_read_fresh_paintings(name, paintings):
    people, pictures = paintings
    target = load_target(name)
    assert all(value.dtype == torch.float32 for value in target.network.parameters())
    assert target.heads.values == VALUES
    with torch.no_grad():
        found = target.heads.most_likely(target.network(target.preprocess(pictures)).logits)
    right = {
        attribute: sum(
            VALUES[attribute][int(i)] == getattr(p, attribute) for i, p in zip(found[attribute], people, strict=True)
        )
        for attribute in VALUES
    }
    assert all(right[attribute] >= NUM_PAINTINGS - 1 for attribute in SURE), right
    assert sum(right.values()) >= 0.93 * NUM_PAINTINGS * len(VALUES), right


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("portraits-resnet", "L4", (24, 32, 32)),
        ("portraits-resnet", "L8", (48, 16, 16)),
        ("portraits-resnet", "L12", (96, 8, 8)),
        ("portraits-vit", "L3", (65, 144)),
        ("portraits-clip", "output", (128,)),
    ],
)
def test_bundled_targets_are_cut_where_the_paper_cuts(name, layer, shape, paintings):
    target = load_target(name)
    cut = target.cut(layer)
    assert cut.feature_shapes == ((1, *shape),)
    pictures = paintings[1][:2].clone().requires_grad_()
    pixels = target.preprocess(pictures)
    features = cut.first(pixels)
    assert torch.equal(cut.second(features), cut.whole(pixels))
    features[0].square().sum().backward()
    assert pictures.grad.abs().amax((1, 2, 3)).gt(0).all()


def test_clip_features_are_those_of_the_encoder_that_judges(paintings):
    from sfumato.models.picture_encoder import PictureEncoder

    target = load_target("portraits-clip")
    pictures = paintings[1][:4]
    with torch.no_grad():
        (embedding,) = target.cut("output").first(target.preprocess(pictures))
    as_bytes = (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()
    own = torch.from_numpy(PictureEncoder().embed_pictures(as_bytes))
    torch.testing.assert_close(torch.nn.functional.normalize(embedding, dim=1), own, atol=1e-5, rtol=0)
