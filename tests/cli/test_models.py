"""``sfumato models`` and ``sfumato bench random-model``."""

import json
import shutil
from functools import partial

import pytest
import typer
from typer.testing import CliRunner

from sfumato.cli.models import models
from sfumato.cli.random_model import random_model


def run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch, tiny_sd):
    """A hub cache that holds one pipeline and one repository that is none."""
    import huggingface_hub

    for repo, content in {"owner--tiny": tiny_sd.path, "owner--other": tiny_sd.path / "unet"}.items():
        folder = tmp_path / f"models--{repo}"
        shutil.copytree(content, folder / "snapshots" / "abc")
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("abc")
        (folder / "blobs").mkdir()
    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", partial(huggingface_hub.scan_cache_dir, tmp_path))


def listed(*arguments):
    return {m["name"]: m for m in json.loads(run(models, "--format", "json", *arguments).stdout)}


def test_architectures_are_listed_without_weights(hub_cache):
    sd15 = listed()["sd15"]
    assert sd15["kind"] == "architecture"
    assert sd15["unet_parameters"] == 859_520_964
    assert sd15["fingerprint"] is None


def test_bundled_targets_are_listed(hub_cache):
    found = listed()
    assert found["portraits-resnet"]["kind"] == found["portraits-clip"]["kind"] == "target"
    assert found["portraits-resnet"]["size_bytes"] > 3e6


def test_cached_pipelines_are_listed_and_hashed_on_request(hub_cache, tiny_sd):
    found = listed()
    assert found["owner/tiny"]["kind"] == "cached"
    assert found["owner/tiny"]["fingerprint"] is None
    assert "owner/other" not in found
    assert listed("--fingerprints")["owner/tiny"]["fingerprint"] == tiny_sd.unet_fingerprint[:12]


def test_the_table(hub_cache):
    shown = run(models).stdout
    assert "owner/tiny" in shown
    assert "859.5 M" in shown


def test_random_model_writes_a_folder_that_models_can_be_found_in(tmp_path):
    result = run(random_model, "tiny-sd", tmp_path / "new", "--seed", 3)
    assert "with random weights" in result.stdout
    assert (tmp_path / "new" / "unet" / "diffusion_pytorch_model.safetensors").is_file()
