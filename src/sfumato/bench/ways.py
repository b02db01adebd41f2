"""What a bench compares: protocols with their settings, named by a text, on a model."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from sfumato.models.folder import ModelFolder, find_model
from sfumato.models.random_folder import write_random_model
from sfumato.protocols.base import Spec
from sfumato.protocols.settings import parse_spec
from sfumato.protocols.specs import find_spec

DEFAULT_WAYS = ("layer-split", "strip-split wire=fp16", "strip-split wire=int8")

_RANDOM = "random:"


@dataclass(frozen=True)
class Way:
    """One way to compute a step."""

    text: str
    """A protocol with the settings that were named."""
    spec: Spec

    @property
    def name(self) -> str:
        """The text, with the number of clouds."""
        return f"{self.text}, n = {self.spec.num_clouds}"

    def to_dict(self) -> dict[str, Any]:
        """For a row: the name, and the whole spec with its defaults."""
        spec = {"protocol": self.spec.name, **self.spec.to_dict()}
        return {"way": self.name, "spec": spec, "clouds": self.spec.num_clouds}


def named_way(text: str, num_clouds: int | None = None) -> Way:
    """Reads ``NAME [FIELD=VALUE ...]``, such as ``strip-split wire=int8``.

    Raises:
        ValueError: unknown protocol, field or value.
    """
    name, *settings = text.split() or [""]
    return Way(" ".join([name, *settings]), parse_spec(find_spec(name), settings, num_clouds))


def bench_model(name: str) -> ModelFolder:
    """Finds a model; ``random:ARCH`` is that architecture with random weights, written once and kept in the cache.

    Raises:
        ModelError: it cannot be found.
        ValueError: unknown architecture.
    """
    if not name.startswith(_RANDOM):
        return find_model(name)
    arch = name.removeprefix(_RANDOM)
    cache = Path(platformdirs.user_cache_dir("sfumato")) / "random"
    target = cache / arch
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            os.replace(write_random_model(arch, Path(folder) / "model").path, target)
    return ModelFolder(target, name)
