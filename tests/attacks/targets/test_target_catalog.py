"""Finding and loading targets."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from sfumato.attacks.targets import Target, bundled_targets, load_target
from sfumato.attacks.targets.attributes import heads_of
from sfumato.attacks.targets.random_target import random_targets, write_random_target
from sfumato.errors import ModelError, Unsupported


def altered(folder, copy, file="config.json", **changes):
    """A copy of a folder with entries of one file changed, or taken out where the change is None."""
    shutil.copytree(folder, copy)
    content = json.loads((copy / file).read_text()) | changes
    (copy / file).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return copy


@pytest.mark.parametrize("family", ["tiny-resnet-18", "tiny-vit", "tiny-clip", "tiny-detr"])
def test_a_target_is_the_stock_model_behind_its_stock_processor(targets, target_folders, family):
    import transformers

    stock = {
        "tiny-resnet-18": "AutoModelForImageClassification",
        "tiny-vit": "AutoModelForImageClassification",
        "tiny-clip": "CLIPVisionModelWithProjection",
        "tiny-detr": "AutoModelForObjectDetection",
    }[family]
    model = getattr(transformers, stock).from_pretrained(target_folders[family], dtype=torch.float32).eval()
    target = targets[family]
    pixels = target.preprocess(torch.rand(2, 3, *target.picture_size, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        wanted, found = model(pixel_values=pixels), target.cut("output").whole(pixels)
    if family == "tiny-detr":
        assert torch.equal(found[0], wanted.logits)
        assert torch.equal(found[1], wanted.pred_boxes)
    else:
        assert torch.equal(found, wanted.image_embeds if family == "tiny-clip" else wanted.logits)
    assert not any(value.requires_grad for value in target.network.parameters())


def test_pictures_of_another_size_are_cut_anew(targets):
    target = targets["tiny-detr"]
    assert target.cut("L1").feature_shapes[0][-2:] == (16, 16)
    assert target.cut("L1", (64, 90)).feature_shapes[0][-2:] == (16, 23)


def test_cuts_of_one_size_share_their_tracing(targets, monkeypatch):
    from sfumato.attacks.targets import traced

    target = targets["tiny-vit"]
    target.cut("L1")
    monkeypatch.setattr(traced, "operations_of", None)
    assert target.cut("L2").layer == "vit.layers.1"


def test_ones_own_network_is_a_target(targets):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.ReLU())
    own = Target(name="own", network=network, preprocess=targets["tiny-vit"].preprocess, picture_size=(50, 60))
    assert own.cut("0").feature_shapes == ((1, 4, 15, 15),)


def test_a_processor_that_does_not_say_its_class_is_known_by_the_model(target_folders, tmp_path):
    folder = altered(
        target_folders["tiny-resnet-18"], tmp_path / "old", "preprocessor_config.json", image_processor_type=None
    )
    assert load_target(folder).preprocess.crop == (64, 64)
    named = altered(
        target_folders["tiny-vit"],
        tmp_path / "vit",
        "preprocessor_config.json",
        image_processor_type="ViTFeatureExtractor",
    )
    assert load_target(named).picture_size == (32, 32)


def test_unknown_names_list_the_bundled_ones():
    with pytest.raises(ModelError, match=rf"no target 'portrait': .*{', '.join(bundled_targets())}"):
        load_target("portrait")


def test_a_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"config.json cannot be read"):
        load_target(tmp_path)


def test_models_of_other_kinds_are_refused(target_folders, tmp_path):
    folder = altered(target_folders["tiny-vit"], tmp_path / "other", architectures=["ViTForMaskedImageModeling"])
    with pytest.raises(Unsupported, match="is a ViTForMaskedImageModeling: use an image classifier"):
        load_target(folder)


def test_a_detector_that_needs_timm_says_so(target_folders, tmp_path):
    backbone = {"model_type": "timm_backbone", "backbone": "resnet50"}
    folder = altered(target_folders["tiny-detr"], tmp_path / "timm", backbone_config=backbone)
    with pytest.raises(Unsupported, match=r"save it with use_timm_backbone=False .* such as RT-DETR"):
        load_target(folder)


def test_missing_weights_are_told_and_not_drawn_at_random(target_folders, tmp_path):
    folder = tmp_path / "incomplete"
    shutil.copytree(target_folders["tiny-vit"], folder)
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"incomplete: 1 tensors are missing, first classifier.weight"):
        load_target(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="transformers cannot load it"):
        load_target(folder)


def test_random_folders_repeat_by_seed_and_keep_what_is_there(target_folders, tmp_path):
    again = write_random_target("tiny-vit", tmp_path / "again", seed=1)
    assert (again / "model.safetensors").read_bytes() == (target_folders["tiny-vit"] / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="is not an empty folder"):
        write_random_target("tiny-vit", again)
    with pytest.raises(ValueError, match=f"choose one of {', '.join(random_targets())}"):
        write_random_target("vgg", tmp_path / "new")


def test_heads_are_read_from_labels():
    heads = heads_of({0: "hat: none", 1: "hat: beanie", 2: "beard: none", 3: "beard: beard", 4: "beard: moustache"})
    assert heads.values == {"hat": ("none", "beanie"), "beard": ("none", "beard", "moustache")}
    logits = torch.tensor([[0.0, 1.0, 5.0, 2.0, 3.0], [1.0, 0.0, 0.0, 2.0, 3.0]])
    found = heads.most_likely(logits)
    assert {name: values.tolist() for name, values in found.items()} == {"hat": [1, 0], "beard": [0, 2]}


def test_labels_of_classes_are_no_heads(targets):
    assert targets["tiny-vit"].heads is None
    assert heads_of({0: "hat: none", 1: "beard: none", 2: "hat: beanie"}) is None
