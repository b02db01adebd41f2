"""Where a model lives, and what its folder says about it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sfumato.errors import ModelError
from sfumato.models.hub import from_hub

_HERE = Path(__file__).parent
BUNDLED = _HERE / "bundled"
ARCHITECTURES = _HERE / "architectures"
"""Configurations without weights, for counting."""

_WEIGHT_STEMS = ("diffusion_pytorch_model", "model")
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class ModelFolder:
    """A folder in diffusers' layout: ``model_index.json`` and one subfolder a component."""

    path: Path
    name: str

    @property
    def reference(self) -> str:
        """What finds this model again: its name, valid on other machines too, or the folder of one that has none."""
        return self.name if self.path.is_relative_to(BUNDLED) or "/" in self.name else str(self.path)

    @cached_property
    def index(self) -> dict[str, Any]:
        """``model_index.json``: component name to (library, class)."""
        return _read_json(self.path / "model_index.json", self.name)

    def has(self, component: str) -> bool:
        """Whether the pipeline uses this component.

        Raises:
            ModelError: the index is damaged.
        """
        entry = self.index.get(component, [None, None])
        if not isinstance(entry, list) or len(entry) != 2:
            raise ModelError(f"model {self.name!r} is damaged: model_index.json names no class for {component}")
        return entry[1] is not None

    def class_name(self, component: str) -> str:
        """The component's class as the index names it.

        Raises:
            ModelError: the pipeline has no such component.
        """
        if not self.has(component):
            raise ModelError(f"model {self.name!r} has no {component}: give a text-to-image pipeline folder")
        return str(self.index[component][1])

    def config(self, component: str) -> dict[str, Any]:
        """The component's configuration."""
        file = "scheduler_config.json" if component == "scheduler" else "config.json"
        return _read_json(self.path / component / file, self.name)

    def weight_files(self, component: str) -> list[Path]:
        """The component's safetensors files: full precision where there is a choice, then fp16.

        Raises:
            ModelError: there are none.
        """
        folder = self.path / component
        for variant in ("", ".fp16"):
            for stem in _WEIGHT_STEMS:
                single = folder / f"{stem}{variant}.safetensors"
                if single.is_file():
                    return [single]
                shards = sorted(folder.glob(f"{stem}-*-of-*{variant}.safetensors")) or sorted(
                    folder.glob(f"{stem}{variant}-*-of-*.safetensors")
                )
                if shards:
                    return shards
        raise ModelError(
            f"model {self.name!r} has no safetensors weights for {component}: "
            "save it with save_pretrained(..., safe_serialization=True)"
        )

    @cached_property
    def unet_fingerprint(self) -> str:
        """SHA-256 over the U-Net's configuration and weights, as hexadecimal; what client and cloud compare."""
        return self._fingerprint("unet")

    @cached_property
    def vae_fingerprint(self) -> str:
        """The same over the autoencoder's: models that have one in common have their latents in common."""
        return self._fingerprint("vae")

    @cached_property
    def fingerprint(self) -> str:
        """Of what makes its pictures: the U-Net's, or the autoencoder's of a folder with nothing else."""
        return self.unet_fingerprint if self.has("unet") else self.vae_fingerprint

    def _fingerprint(self, component: str) -> str:
        digest = hashlib.sha256()
        config = {k: v for k, v in self.config(component).items() if not k.startswith("_") or k == "_class_name"}
        digest.update(json.dumps(config, sort_keys=True).encode())
        for file in self.weight_files(component):
            for block in _blocks(file):
                digest.update(block)
        return digest.hexdigest()


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            yield block


def _read_json(file: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise ModelError(
            f"model {name!r} is incomplete: {file.parent.name}/{file.name} is missing; download or save it again"
        ) from None
    except (ValueError, OSError) as error:
        raise ModelError(f"model {name!r} is damaged: {file.parent.name}/{file.name} cannot be read") from error
    if not isinstance(content, dict):
        raise ModelError(f"model {name!r} is damaged: {file.parent.name}/{file.name} is not a configuration")
    return content


def bundled_models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(p.parent.name for p in BUNDLED.glob("*/model_index.json"))


def architectures() -> list[str]:
    """Names of the architectures that can be counted without weights."""
    return sorted(p.parent.name for p in ARCHITECTURES.glob("*/model_index.json"))


def find_model(name_or_dir: str | Path) -> ModelFolder:
    """Finds a model: a folder, a bundled name, or a hub name (downloaded once, then cached).

    Raises:
        ModelError: nothing of that name can be found; the sentence says where was looked.
    """
    folder, name = find_folder(name_or_dir, "model", bundled_models(), _HUB_PATTERNS)
    if Path(name_or_dir).is_dir() and not (folder / "model_index.json").is_file():
        raise ModelError(f"{Path(name_or_dir)} is not a model folder: it holds no model_index.json")
    return ModelFolder(folder, name)


def find_folder(
    name_or_dir: str | Path, kind: str, bundled: Sequence[str], patterns: Sequence[str]
) -> tuple[Path, str]:
    """The folder of anything that is bundled, on the hub, or the user's own, and the name to show.

    Args:
        name_or_dir: a folder, a bundled name, or a hub name.
        kind: what it is, in the singular, for the error's sentence.
        bundled: names of that kind.
        patterns: of the files to download.

    Raises:
        ModelError: nothing of that name can be found; the sentence says where was looked.
    """
    path, name = Path(name_or_dir), str(name_or_dir)
    if path.is_dir():
        return path.resolve(), path.name
    if name in bundled:
        return BUNDLED / name, name
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return from_hub(name, patterns), name
    raise ModelError(
        f"no {kind} {name!r}: give a folder, a hub name such as owner/model, "
        f"or one of the bundled {kind}s: {', '.join(bundled)}"
    )


def find_architecture(name_or_dir: str | Path) -> ModelFolder:
    """Finds configurations to count on: an architecture by name, or any model; weights are not needed.

    Raises:
        ModelError: nothing of that name can be found.
    """
    name = str(name_or_dir)
    if name in architectures():
        return ModelFolder(ARCHITECTURES / name, name)
    try:
        return find_model(name_or_dir)
    except ModelError as error:
        raise ModelError(f"{error}; architectures without weights: {', '.join(architectures())}") from None


_HUB_PATTERNS = ["model_index.json", "*/*.json", "*/*.txt", "*/*.safetensors"]
