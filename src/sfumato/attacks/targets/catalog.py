"""Networks to invert the features of: bundled ones, folders in transformers' layout, hub names, and one's own."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from torch import nn

from sfumato.attacks.targets.attributes import AttributeHeads, heads_of
from sfumato.attacks.targets.cut import CutModel
from sfumato.attacks.targets.layers import Layer, layers_of
from sfumato.attacks.targets.own import is_own, made_by
from sfumato.attacks.targets.preprocessing import Exactly, Preprocessing, ShortestEdge, preprocessing_of
from sfumato.attacks.targets.traced import TracedNetwork, as_it_is
from sfumato.errors import ModelError, Unsupported
from sfumato.models.folder import BUNDLED, find_folder
from sfumato.models.hub import quiet_transformers

_HUB_PATTERNS: Final = ["config.json", "preprocessor_config.json", "model*.safetensors", "model.safetensors.index.json"]
_PROCESSORS: Final = {
    "clip": "CLIPImageProcessor",
    "clip_vision_model": "CLIPImageProcessor",
    "detr": "DetrImageProcessor",
    "resnet": "ConvNextImageProcessor",
    "rt_detr": "RTDetrImageProcessor",
    "vit": "ViTImageProcessor",
}
"""For folders whose processor does not say its own class."""
_SIDE_WHERE_NONE_IS_SAID: Final = 224


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A network, what stands before it and what is read from it; one's own network fits too.

    Example:
        >>> target = load_target("portraits-resnet")
        >>> cut = target.cut("L8")
        >>> features = cut.first(target.preprocess(pictures))
    """

    name: str
    network: nn.Module
    """Takes one batch of preprocessed pictures; in fp32 on the CPU as loaded."""
    preprocess: Preprocessing
    picture_size: tuple[int, int]
    """Height and width of the pictures it is usually shown."""
    read: Callable[[Any], Any] = as_it_is
    """Turns the network's result into a tensor or a tuple of tensors."""
    heads: AttributeHeads | None = None
    """What the columns of the result stand for, of a classifier of attributes."""
    _traced: dict[Any, TracedNetwork] = field(default_factory=dict, init=False, repr=False)

    def cut(self, layer: str, picture_size: tuple[int, int] | None = None) -> CutModel:
        """The network cut after a layer, for pictures of this size before preprocessing.

        Raises:
            ValueError, Unsupported: as `CutModel`.
        """
        return CutModel(self._traced_for(picture_size), layer)

    def layers(self, picture_size: tuple[int, int] | None = None) -> list[Layer]:
        """Where it can be cut, for pictures of this size before preprocessing."""
        return layers_of(self._traced_for(picture_size))

    def _traced_for(self, picture_size: tuple[int, int] | None) -> TracedNetwork:
        """Cuts at several layers share one tracing, until the network is moved."""
        size = self.preprocess.size_of(*(picture_size or self.picture_size))
        traced = TracedNetwork(self.network, picture_shape=(3, *size), read=self.read)
        blank = traced.blank(1)
        return self._traced.setdefault((size, blank.device, blank.dtype), traced)


def bundled_targets() -> list[str]:
    """Names of the targets that ship with the package."""
    return sorted(file.parent.name for file in BUNDLED.glob("*/preprocessor_config.json"))


def load_target(name_or_dir: str | Path, weights: Path | None = None) -> Target:
    """Loads a classifier, a CLIP picture encoder (end to end: its projected embedding) or a detector, or one's own.

    Detectors whose backbone is transformers' own ResNet can be loaded (RT-DETR, and DETR saved with
    `use_timm_backbone=False`); for others `timm` would be needed. A detector's result is its logits and boxes.

    Args:
        name_or_dir: a bundled name, a folder in transformers' layout, a hub name (downloaded once, then cached), or
            FILE.py:FUNCTION or MODULE:FUNCTION, whose code is run and makes a `Target`.
        weights: for such a function, its argument.

    Raises:
        ModelError: nothing of that name, an incomplete or damaged one, or a function that fails.
        Unsupported: a model of another kind, or a processor that cannot be differentiated through.
        ValueError: weights for a target that takes none, or none for a function that wants them.
    """
    if is_own(str(name_or_dir)) and not Path(name_or_dir).is_dir():
        return _own_target(str(name_or_dir), weights)
    if weights is not None:
        raise ValueError(f"weights are for targets named FILE.py:FUNCTION, and {str(name_or_dir)!r} brings its own")
    folder, name = find_folder(name_or_dir, "target", bundled_targets(), _HUB_PATTERNS)
    config = _read(folder / "config.json", name)
    kind, read = _kind_of(config, name)
    network = _network(kind, folder, name)
    preprocess = preprocessing_of(_processor(folder, config, name))
    return Target(
        name=name,
        network=network,
        preprocess=preprocess,
        picture_size=_usual_size(preprocess),
        read=read,
        heads=heads_of(network.config.id2label) if kind.endswith("ImageClassification") else None,
    )


def _own_target(name: str, weights: Path | None) -> Target:
    target = made_by(name, weights)
    if not isinstance(target, Target):
        raise ModelError(
            f"target {name!r} cannot be used: its function must return a sfumato.attacks.targets.Target, got "
            f"{type(target).__name__}"
        )
    target.network.requires_grad_(False).eval()
    return target


def _read(file: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        raise ModelError(
            f"target {name!r} is incomplete or damaged: {file.name} cannot be read; download or save it again"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"target {name!r} is damaged: {file.name} is not a configuration")
    return content


def _kind_of(config: dict[str, Any], name: str) -> tuple[str, Callable[[Any], Any]]:
    """The transformers class to load with, and how to read its result."""
    architecture = str((config.get("architectures") or [""])[0])
    if config.get("model_type") in ("clip", "clip_vision_model") and "Classification" not in architecture:
        return "CLIPVisionModelWithProjection", _embedding
    if architecture.endswith("ForImageClassification"):
        return "AutoModelForImageClassification", _logits
    if architecture.endswith("ForObjectDetection"):
        return "AutoModelForObjectDetection", _logits_and_boxes
    raise Unsupported(
        f"target {name!r} is a {architecture or 'model of no named class'}: use an image classifier, a CLIP model or "
        "an object detector, or build a Target around your own network"
    )


def _logits(result: Any) -> Any:
    return result.logits


def _embedding(result: Any) -> Any:
    return result.image_embeds


def _logits_and_boxes(result: Any) -> Any:
    return result.logits, result.pred_boxes


def _network(kind: str, folder: Path, name: str) -> Any:
    import transformers

    try:
        with quiet_transformers():
            network, found = getattr(transformers, kind).from_pretrained(
                folder, config=_configuration(folder), dtype="float32", use_safetensors=True, output_loading_info=True
            )
    except ImportError as error:
        raise Unsupported(
            f"target {name!r} needs a library that is not here: for a detector, save it with use_timm_backbone=False "
            "or use one with transformers' own ResNet, such as RT-DETR"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ModelError(f"target {name!r} is incomplete or damaged: transformers cannot load it") from error
    # transformers would go on with random weights in their place.
    if absent := sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"]):
        raise ModelError(f"target {name!r} is incomplete: {len(absent)} tensors are missing, first {absent[0]}")
    return network.requires_grad_(False).eval()


def _configuration(folder: Path) -> Any:
    """The network's configuration; of a whole CLIP model that of its picture tower, with the projection's width."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    if config.model_type != "clip":
        return config
    config.vision_config.projection_dim = config.projection_dim
    return config.vision_config


def _processor(folder: Path, config: dict[str, Any], name: str) -> Any:
    """The model's picture processor on Pillow."""
    import transformers

    said = _read(folder / "preprocessor_config.json", name)
    default = _PROCESSORS.get(str(config.get("model_type")), "")
    named = str(said.get("image_processor_type") or said.get("feature_extractor_type") or default)
    plain = named.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    # Without torchvision the plain name still works but warns; older releases have only the plain name.
    kind = getattr(transformers, f"{plain}Pil", None) or getattr(transformers, plain, None)
    if kind is None:
        raise Unsupported(f"target {name!r} prepares pictures with {named or 'no named class'}: transformers has none")
    try:
        with quiet_transformers():
            return kind.from_pretrained(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"target {name!r} is damaged: its preprocessor_config.json cannot be used") from error


def _usual_size(preprocess: Preprocessing) -> tuple[int, int]:
    """The size of pictures that the processor leaves as large as they are."""
    match preprocess:
        case Preprocessing(crop=(rows, columns)):
            return rows, columns
        case Preprocessing(size=Exactly(height=height, width=width)):
            return height, width
        case Preprocessing(size=ShortestEdge(length=length)):
            return length, length
        case _:
            return _SIDE_WHERE_NONE_IS_SAID, _SIDE_WHERE_NONE_IS_SAID
