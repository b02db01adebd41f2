"""Target folders with random weights: everything of a real network but its knowledge, for tests and timing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from sfumato.models.hub import quiet_transformers

_TINY_WIDTHS: Final[dict[str, Any]] = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32]}
_TINY_VIT: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
_WITHOUT_TIMM: Final[dict[str, Any]] = {
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
}


def write_random_target(arch: str, folder: str | Path, seed: int = 0) -> Path:
    """Writes a network and its picture processor in transformers' layout.

    Args:
        arch: one of `random_targets()`.
        folder: made if absent; must be empty.
        seed: fixes the weights.

    Raises:
        ValueError: unknown architecture, or the folder holds something.
    """
    if arch not in _ARCHITECTURES:
        raise ValueError(f"no target architecture {arch!r}: choose one of {', '.join(random_targets())}")
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is not an empty folder: name a new one")
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        network, processor = _ARCHITECTURES[arch]()
        network.save_pretrained(target)
        processor.save_pretrained(target)
    return target


def random_targets() -> list[str]:
    """Names of the architectures: the paper's at their sizes, and tiny ones of the same families."""
    return list(_ARCHITECTURES)


def _pillow(name: str, **settings: Any) -> Any:
    import transformers

    return (getattr(transformers, f"{name}Pil", None) or getattr(transformers, name))(**settings)


def _resnet(side: int, **settings: Any) -> tuple[Any, Any]:
    from transformers import ResNetConfig, ResNetForImageClassification

    processor = _pillow("ConvNextImageProcessor", size={"shortest_edge": side}, crop_pct=0.875)
    return ResNetForImageClassification(ResNetConfig(**settings)), processor


def _vit(**settings: Any) -> tuple[Any, Any]:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(**settings)
    size = {"height": config.image_size, "width": config.image_size}
    return ViTForImageClassification(config), _pillow("ViTImageProcessor", size=size)


def _clip(**settings: Any) -> tuple[Any, Any]:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(**settings)
    side = config.image_size
    processor = _pillow("CLIPImageProcessor", size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return CLIPVisionModelWithProjection(config), processor


def _detr(edges: dict[str, int], backbone: dict[str, Any], **settings: Any) -> tuple[Any, Any]:
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    features: dict[str, Any] = {"out_features": ["stage4"], **backbone}
    config = DetrConfig(backbone_config=ResNetConfig(**features), **_WITHOUT_TIMM, **settings)
    return DetrForObjectDetection(config), _pillow("DetrImageProcessor", size=edges)


def _rt_detr(side: int, backbone: dict[str, Any], **settings: Any) -> tuple[Any, Any]:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    features: dict[str, Any] = {"out_features": ["stage2", "stage3", "stage4"], **backbone}
    config = RTDetrConfig(backbone_config=RTDetrResNetConfig(**features), **settings)
    return RTDetrForObjectDetection(config), _pillow("RTDetrImageProcessor", size={"height": side, "width": side})


_ARCHITECTURES: Final[dict[str, Callable[[], tuple[Any, Any]]]] = {
    "resnet-18": lambda: _resnet(224, layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2]),
    "resnet-50": lambda: _resnet(224),
    "vit-base": lambda: _vit(),
    "clip-vit-base-patch32": lambda: _clip(),
    "detr-resnet-50": lambda: _detr({"shortest_edge": 800, "longest_edge": 1333}, {}),
    "rt-detr-resnet-50": lambda: _rt_detr(640, {}),
    "tiny-resnet-18": lambda: _resnet(64, layer_type="basic", depths=[2, 2, 2, 2], num_labels=5, **_TINY_WIDTHS),
    "tiny-resnet-50": lambda: _resnet(64, depths=[3, 4, 6, 3], num_labels=5, **_TINY_WIDTHS),
    "tiny-vit": lambda: _vit(num_labels=5, **_TINY_VIT),
    "tiny-clip": lambda: _clip(projection_dim=8, **_TINY_VIT),
    "tiny-detr": lambda: _detr(
        {"shortest_edge": 64, "longest_edge": 96},
        {"depths": [1, 1, 1, 1], **_TINY_WIDTHS},
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=5,
        num_labels=3,
    ),
    "tiny-rt-detr": lambda: _rt_detr(
        64,
        {"depths": [1, 1, 1, 1], **_TINY_WIDTHS},
        encoder_hidden_dim=16,
        encoder_in_channels=_TINY_WIDTHS["hidden_sizes"][1:],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_n_points=2,
        num_queries=5,
        num_labels=3,
    ),
}
