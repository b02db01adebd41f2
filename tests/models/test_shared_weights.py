"""Processes on one host share weights: read by mapping, converted at most once."""

from pathlib import Path

import torch

from sfumato.models.loading import load_unet
from sfumato.models.random_folder import write_random_model


def mapped_files() -> set[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if "/" in line}


def test_weights_of_the_wanted_format_are_mapped_not_copied(tiny_sd):
    unet = load_unet(tiny_sd)
    assert str(tiny_sd.weight_files("unet")[0]) in mapped_files()
    assert not any(p.is_meta for p in unet.parameters())


def test_other_formats_are_converted_once_into_a_file_that_is_mapped(tmp_path):
    model = write_random_model("tiny-sd", tmp_path / "model", seed=1, dtype="fp16")
    cache = tmp_path / "cache"
    first = load_unet(model, shared_under=cache)
    (converted,) = cache.iterdir()
    written = converted.stat().st_mtime_ns
    second = load_unet(model, shared_under=cache)
    assert converted.stat().st_mtime_ns == written
    assert str(converted) in mapped_files()
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert a.dtype == torch.float32, name
        assert torch.equal(a, b)


def test_a_cache_that_cannot_be_written_costs_memory_not_correctness(tmp_path):
    model = write_random_model("tiny-sd", tmp_path / "model", seed=1, dtype="fp16")
    blocked = Path(tmp_path / "file")
    blocked.write_text("not a folder")
    unet = load_unet(model, shared_under=blocked / "cache")
    assert all(p.dtype == torch.float32 for p in unet.parameters())
