"""Finding and loading a CLIP model: a folder in transformers' layout, a hub name, or the bundled one."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sfumato.errors import ModelError
from sfumato.models.attribute_files import LINEAR_FILE, AttributeFiles, read_attribute_files
from sfumato.models.folder import BUNDLED, find_folder
from sfumato.models.hub import quiet_transformers

_HUB_PATTERNS: Final = ["*.json", "*.txt", "model*.safetensors", LINEAR_FILE]


@dataclass(frozen=True, kw_only=True)
class ClipParts:
    """A loaded model: `transformers.CLIPModel` in fp32, its tokenizer, and its picture processor on Pillow."""

    name: str
    fingerprint: str
    """SHA-256 over the folder's weights, in files' order, as hexadecimal."""
    model: Any
    tokenizer: Any
    processor: Any
    attributes: AttributeFiles | None


def bundled_encoders() -> list[str]:
    """Names of the image-text encoders that ship with the package."""
    return sorted(file.parent.name for file in BUNDLED.glob("*/tokenizer_config.json"))


def load_clip(name_or_dir: str | Path) -> ClipParts:
    """Loads the parts from a folder, a bundled name, or a hub name (downloaded once, then cached).

    Raises:
        ModelError: nothing of that name, no CLIP model, or an incomplete or damaged one.
    """
    folder, name = find_folder(name_or_dir, "image-text encoder", bundled_encoders(), _HUB_PATTERNS)
    if _read(folder / "config.json", name).get("model_type") != "clip":
        raise ModelError(f"model {name!r} is not a CLIP model: its config.json names no model_type 'clip'")
    attributes = read_attribute_files(folder, name)
    # Without torchvision the plain name still works but warns; older releases have only the plain name.
    import transformers

    kind: Any = transformers.CLIPModel
    processor = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    try:
        with quiet_transformers():
            model, found = kind.from_pretrained(folder, dtype="float32", use_safetensors=True, output_loading_info=True)
            tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
            processor = processor.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ModelError(
            f"model {name!r} is incomplete or damaged: transformers cannot load model, tokenizer and processor"
        ) from error
    # transformers would go on with random weights in their place.
    if absent := sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"]):
        raise ModelError(f"model {name!r} is incomplete: {len(absent)} tensors are missing, first {absent[0]}")
    model.requires_grad_(False).eval()
    return ClipParts(
        name=name,
        fingerprint=_fingerprint(folder),
        model=model,
        tokenizer=tokenizer,
        processor=processor,
        attributes=attributes,
    )


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _read(file: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise ModelError(f"model {name!r} is not a CLIP model: it holds no {file.name}") from None
    except (ValueError, OSError) as error:
        raise ModelError(f"model {name!r} is damaged: {file.name} cannot be read") from error
    if not isinstance(content, dict):
        raise ModelError(f"model {name!r} is damaged: {file.name} is not a configuration")
    return content
