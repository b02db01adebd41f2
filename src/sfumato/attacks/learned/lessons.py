"""What an attacker learns from: features of its own runs, each with the picture and the person that it asked for."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import platformdirs
import torch
from jaxtyping import Bool, Float, Int, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sfumato.attacks.seen.base import Window
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.seen.keeping import bears_on
from sfumato.attacks.seen.steps import by_step, chosen
from sfumato.attacks.view import Rehearsal, Rehearsed, RunView
from sfumato.files import write_whole
from sfumato.portraits.attributes import VALUES

MID_LAYER = "mid_block.resnets.1.norm1"
"""The first layer after the deepest attention, in models of the Stable Diffusion kind."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """The input of a layer at one step."""

    values: Float[Tensor, "picture channel height width"]
    """Of the cells that were seen, without those around them; guidance halves are side by side in channels."""
    window: Window
    """Where they lie."""

    def within(self, window: Window) -> "Features":
        """Those of a smaller window, for views that saw more."""
        if window == self.window:
            return self
        top, left = window.top - self.window.top, window.left - self.window.left
        rows, columns = window.bottom - window.top, window.right - window.left
        return Features(values=self.values[:, :, top : top + rows, left : left + columns], window=window)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """One row a picture."""

    features: Features
    attributes: Int[Tensor, "own attribute"]
    """The place of each attribute's value in ``VALUES``."""
    pictures: UInt8[Tensor, "own rows columns rgb"]

    def __len__(self) -> int:
        return len(self.pictures)


def features_at(view: RunView, layer: str, step: int) -> Features:
    """What a view holds of a layer's input.

    Raises:
        LacksInput: it was not seen.
    """
    seen = chosen(by_step(reader_of(view).features(view, layer)), step)
    halves = len(seen.values) // view.known_settings().num_pictures
    together = seen.values.unflatten(0, (halves, -1)).transpose(0, 1).flatten(1, 2)
    window = _seen_window(seen.known)
    rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
    return Features(values=together[:, :, rows, columns], window=window)


def lessons(rehearsal: Rehearsal, layer: str, step: int, number: int) -> Lessons:
    """Of runs that the attacker makes.

    They are kept in the user's cache, for the next attack that learns from the same layer and step.

    Raises:
        LacksInput: the layer is not seen.
        ValueError: fewer than 20.
    """
    if number < 20:
        raise ValueError(f"an attacker learns from 20 runs of its own or more, got {number}")
    return _lessons(rehearsal, layer, step, number)


def cache_file(kind: str, *named: object) -> Path:
    """Where something learned is kept, by all that it depends on."""
    digest = hashlib.sha256(json.dumps([str(each) for each in named]).encode()).hexdigest()[:32]
    return Path(platformdirs.user_cache_dir("sfumato")) / "attacks" / f"{kind}-{digest}.safetensors"


def read_tensors(path: Path) -> dict[str, Tensor] | None:
    """What was kept, or None."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def keep_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Keeps tensors; a read-only or full cache costs time, not correctness."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, lambda stream: stream.write(save({k: v.contiguous() for k, v in tensors.items()})))


@lru_cache(maxsize=2)
def _lessons(rehearsal: Rehearsal, layer: str, step: int, number: int) -> Lessons:
    path = cache_file("lessons", rehearsal.name, layer, step, number)
    kept = read_tensors(path)
    if kept is None:
        kept = _made(rehearsal, layer, step, number)
        keep_tensors(path, kept)
    features = Features(values=kept["features"].float(), window=Window(*kept["window"].tolist()))
    return Lessons(features=features, attributes=kept["attributes"], pictures=kept["pictures"])


def _made(rehearsal: Rehearsal, layer: str, step: int, number: int) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {"features": [], "attributes": [], "pictures": []}
    window: Window | None = None
    for run in rehearsal.runs(number, lambda kind, values: bears_on(kind, values, layer)):
        found = features_at(run.view, layer, step)
        window = window or found.window
        found = found.within(window)
        parts["features"].append(found.values.half())
        parts["attributes"].append(_places(run))
        parts["pictures"].append(torch.from_numpy(np.ascontiguousarray(run.pictures)))
    assert window is not None, "runs were asked for"
    return {name: torch.cat(each) for name, each in parts.items()} | {"window": torch.tensor(window)}


def _places(run: Rehearsed) -> Int[Tensor, "batch attribute"]:
    return torch.tensor([[VALUES[name].index(one[name]) for name in VALUES] for one in run.attributes])


def _seen_window(known: Bool[Tensor, "height width"]) -> Window:
    """The smallest window that holds all cells that were seen."""
    rows, columns = known.any(1).nonzero().flatten().tolist(), known.any(0).nonzero().flatten().tolist()
    return Window(rows[0], rows[-1] + 1, columns[0], columns[-1] + 1, *known.shape)
