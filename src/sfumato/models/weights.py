"""Weights from safetensors: lazily, mapped from the file, and only the ones asked for."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sfumato.errors import ModelError

Wanted = Callable[[str], bool]
"""Says of a parameter's path whether it is to be loaded."""


def read_weights(files: Iterable[Path], wanted: Wanted, dtype: torch.dtype) -> dict[str, Tensor]:
    """Reads the wanted tensors. Those already of ``dtype`` stay mapped from the file: processes share them.

    Raises:
        ModelError: a file is damaged.
    """
    out: dict[str, Tensor] = {}
    for file in files:
        with _opened(file) as tensors:
            names = [name for name in tensors.keys() if wanted(name)]  # noqa: SIM118
            out |= {name: tensors.get_tensor(name).to(dtype) for name in names}
    return out


_CODES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def has_dtype(file: Path, dtype: torch.dtype) -> bool:
    """Whether every tensor of a file is already of ``dtype``.

    Raises:
        ModelError: the file is damaged.
    """
    with _opened(file) as tensors:
        names = tensors.keys()
        return all(_CODES.get(tensors.get_slice(name).get_dtype()) is dtype for name in names)


def _is_whole(file: Path) -> bool:
    """Whether a file is there and as long as its header says."""
    try:
        with safe_open(file, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"weight file {file.parent.name}/{file.name} is damaged; download or save the model again"
        ) from error


def assign_weights(module: nn.Module, weights: dict[str, Tensor], model: str) -> None:
    """Puts tensors in place of a module's meta parameters; the ones not given stay on the meta device.

    Raises:
        ModelError: a tensor does not belong to the module, or has another shape.
    """
    try:
        result = module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        raise ModelError(f"the weights of model {model!r} do not fit its configuration") from error
    if result.unexpected_keys:
        raise ModelError(
            f"the weights of model {model!r} hold {len(result.unexpected_keys)} tensors that its configuration "
            "does not know: config.json and weights are of different models"
        )


def shared_copy(files: Iterable[Path], dtype: torch.dtype, cache: Path, fingerprint: str) -> Path:
    """Converts weights once to ``dtype`` in a cache file that every process on this host can map.

    Returns:
        The cached file; made under a temporary name and renamed, so it is whole or absent.
    """
    target = cache / f"{fingerprint[:32]}-{str(dtype).removeprefix('torch.')}.safetensors"
    if _is_whole(target):
        return target
    cache.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=cache, suffix=".partial")
    os.close(handle)
    try:
        save_file(read_weights(files, lambda _: True, dtype), name)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def weight_bytes(module: nn.Module) -> int:
    """Bytes of the parameters that are really loaded (not on the meta device)."""
    return sum(p.numel() * p.element_size() for p in module.parameters() if not p.is_meta)


def missing_weights(module: nn.Module, wanted: Wanted) -> list[str]:
    """Paths of wanted parameters that are still on the meta device."""
    return [path for path, p in module.named_parameters() if p.is_meta and wanted(path)]
