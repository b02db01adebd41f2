"""The state of an unfinished attack in a file that is whole or absent."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sfumato.errors import ModelError
from sfumato.files import write_whole

_FORMAT = "sfumato inversion 1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Tensors by name, and how far they are."""

    tensors: dict[str, Tensor]
    iteration: int
    seconds: float


def write_checkpoint(file: Path, task: str, state: Checkpoint) -> None:
    """Replaces the checkpoint in a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    about = {"iteration": state.iteration, "seconds": state.seconds}
    content = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()},
        metadata={"format": _FORMAT, "task": task, "about": json.dumps(about)},
    )
    write_whole(file, lambda stream: _put(stream, content))


def read_checkpoint(file: Path, task: str) -> Checkpoint | None:
    """Reads a checkpoint; None where there is none.

    Raises:
        ValueError: it belongs to other features or settings.
        ModelError: the file is damaged.
    """
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as content:
            told = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"checkpoint {file} is damaged: delete it to begin anew") from error
    if told.get("format") != _FORMAT or told.get("task") != task:
        raise ValueError(
            f"checkpoint {file} belongs to other pictures or settings: name another folder, or delete it to begin anew"
        )
    about = json.loads(told["about"])
    return Checkpoint(tensors=tensors, iteration=about["iteration"], seconds=about["seconds"])


def _put(stream: IO[bytes], content: bytes) -> None:
    stream.write(content)
