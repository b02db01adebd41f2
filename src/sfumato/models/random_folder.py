"""Model folders with random weights: everything of a real model but its knowledge, for tests and timing."""

import json
import os
import shutil
from collections.abc import Iterator
from math import prod, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.models.folder import ARCHITECTURES, ModelFolder, architectures
from sfumato.models.skeleton import TEXT_ENCODERS, skeleton
from sfumato.randomness import seeded_generator

_DTYPES = {"fp32": (torch.float32, "F32"), "fp16": (torch.float16, "F16")}
_TOKENIZERS = ("tokenizer", "tokenizer_2")
_START, _END = "<|startoftext|>", "<|endoftext|>"


def write_random_model(arch: str, folder: str | Path, seed: int = 0, *, dtype: str = "fp32") -> ModelFolder:
    """Writes a model folder in diffusers' layout with random weights and a byte-level tokenizer.

    Weights are drawn and written one tensor at a time; no more than the largest of them is ever in memory.

    Args:
        arch: name of an architecture.
        folder: made if absent; must be empty.
        seed: fixes the weights.
        dtype: fp32 or fp16, in the files.

    Raises:
        ValueError: unknown architecture or dtype, or the folder holds something.
    """
    if arch not in architectures():
        raise ValueError(f"no architecture {arch!r}: choose one of {', '.join(architectures())}")
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is not an empty folder: name a new one")
    shutil.copytree(ARCHITECTURES / arch, target, dirs_exist_ok=True)
    model = ModelFolder(target.resolve(), target.name)
    for offset, component in enumerate(c for c in ("unet", "vae", *TEXT_ENCODERS) if model.has(c)):
        stem = "model" if component in TEXT_ENCODERS else "diffusion_pytorch_model"
        generator = seeded_generator(seed + offset)
        write_random_weights(
            skeleton(model, component), target / component / f"{stem}.safetensors", generator, dtype=dtype
        )
    for tokenizer, encoder in zip(_TOKENIZERS, TEXT_ENCODERS, strict=True):
        if model.has(tokenizer):
            write_byte_tokenizer(target / tokenizer, model.config(encoder)["vocab_size"])
    return model


def write_random_weights(module: nn.Module, file: Path, generator: torch.Generator, *, dtype: str = "fp32") -> None:
    """Streams random weights for a module on the meta device into a safetensors file.

    The file is written under another name and renamed, so it is whole or absent.
    """
    slots = {_published_name(module, name): tensor for name, tensor in module.state_dict().items()}
    _, code = _DTYPES[dtype]
    partial = file.with_suffix(".partial")
    with partial.open("wb") as stream:
        stream.write(_header(slots, code, _DTYPES[dtype][0].itemsize))
        for name, slot in slots.items():
            stream.write(_random(name, slot.shape, generator).to(_DTYPES[dtype][0]).numpy().tobytes())
    os.replace(partial, file)


def _published_name(module: nn.Module, name: str) -> str:
    # Published CLIP checkpoints carry this prefix; newer versions of transformers hide it in the module.
    is_bare_clip = type(module).__name__ == "CLIPTextModel" and not name.startswith("text_model.")
    return f"text_model.{name}" if is_bare_clip else name


def _header(slots: dict[str, Tensor], code: str, item_bytes: int) -> bytes:
    """The safetensors header: its length, then JSON padded to a multiple of 8."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, slot in slots.items():
        size = slot.numel() * item_bytes
        entries[name] = {"dtype": code, "shape": list(slot.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Weights that keep activations near unit size, and norms and biases that are not neutral."""
    noise = torch.randn(shape, generator=generator)
    if "embedding" in name and len(shape) == 2 and "time_embedding" not in name and "add_embedding" not in name:
        return noise * 0.1
    if len(shape) > 1:
        return noise / sqrt(prod(shape[1:]))
    return 1 + noise * 0.1 if "norm" in name and name.endswith("weight") else noise * 0.1


def _byte_letters() -> Iterator[str]:
    """A printable letter for every byte, in CLIP's order.

    Source: Radford et al. 2019 (GPT-2), byte-level BPE; printable bytes stand for themselves, the others for the
    letters from 256 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    yield from map(chr, printable)
    yield from (chr(256 + i) for i in range(256 - len(printable)))


def write_byte_tokenizer(folder: Path, vocab_size: int) -> None:
    """Writes a CLIP tokenizer that knows every byte and no word: a letter is a token.

    Args:
        folder: gets ``vocab.json`` and ``merges.txt``.
        vocab_size: filled up with words that never occur; start and end of text come last, as CLIP has them.

    Raises:
        ValueError: the vocabulary has no room for every byte.
    """
    letters = list(_byte_letters())
    words = [*letters, *(letter + "</w>" for letter in letters)]
    if (room := vocab_size - len(words) - 2) < 0:
        raise ValueError(f"vocab_size must be at least {len(words) + 2}, got {vocab_size}")
    words += [f"<|filler{i}|>" for i in range(room)] + [_START, _END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
