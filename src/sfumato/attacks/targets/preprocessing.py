"""What a model's picture processor does to a picture, as a differentiable function."""

from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor
from torch.nn import functional

from sfumato.attacks.targets.traced import Pixels
from sfumato.errors import Unsupported

Pictures = Tensor
"""Red-green-blue pictures, (batch, 3, height, width), with values in 0..1; checked with a sentence of our own."""

_FILTERS: Final = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for the filters that torch computes alike."""
_PERCENT_OF_CROP: Final = ("ConvNextImageProcessor",)
_PLAIN: Final = (
    "BitImageProcessor",
    "CLIPImageProcessor",
    "ConditionalDetrImageProcessor",
    "DeformableDetrImageProcessor",
    "DeiTImageProcessor",
    "DetrImageProcessor",
    "RTDetrImageProcessor",
    "ViTImageProcessor",
)
_WARPED_FROM: Final = 384
"""ConvNext's processor does not crop at this size and above."""


@dataclass(frozen=True, kw_only=True)
class Exactly:
    """Scale to this size, whatever the picture's shape."""

    height: int
    width: int

    def of(self, height: int, width: int) -> tuple[int, int]:  # noqa: ARG002
        """The size that a picture of this size gets."""
        return self.height, self.width


@dataclass(frozen=True, kw_only=True)
class ShortestEdge:
    """Scale the shorter side to a length, or the longer one to its limit where it would pass that."""

    length: int
    longest: int | None = None

    def of(self, height: int, width: int) -> tuple[int, int]:
        """The size that a picture of this size gets."""
        short, long = sorted((height, width))
        length: float = self.length
        if self.longest is not None and long / short * length > self.longest:
            length = self.longest * short / long
        side = round(length)
        if side == short:
            return height, width
        other = int(length * long / short)
        return (side, other) if height <= width else (other, side)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, crop and normalise as a transformers picture processor does on Pillow, with a gradient.

    Pillow rounds to whole grey levels after each direction of a resize and this does not, so results differ by up to
    1 (bilinear) or 1.25 (bicubic) of 255 grey levels before normalisation; without resizing they are equal up to
    floating point. Pictures of one batch have one size, so a detector's processor does not pad them.

    Run by: client.
    """

    size: Exactly | ShortestEdge | None
    filter: str
    """A mode of `torch.nn.functional.interpolate`."""
    crop: tuple[int, int] | None
    """Height and width of what is cut from the middle."""
    scale: float
    """The value of white before normalisation: 1, or 255 for a processor that does not rescale."""
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pictures: Pictures) -> Pixels:
        """Pictures as the network takes them.

        Raises:
            ValueError: not colour pictures, or pictures smaller than the crop.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or not pictures.is_floating_point():
            raise ValueError(
                f"pictures must have the shape (batch, 3, height, width) and values in 0..1, got {pictures.dtype} of "
                f"shape {tuple(pictures.shape)}; convert them to red-green-blue floats"
            )
        pixels = self._cropped(self._resized(pictures))
        mean, std = (pixels.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (pixels * self.scale - mean) / std

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what the network gets for pictures of this size."""
        if self.crop is not None:
            return self.crop
        return self.size.of(height, width) if self.size else (height, width)

    def _resized(self, pictures: Tensor) -> Tensor:
        old = (pictures.shape[-2], pictures.shape[-1])
        if self.size is None or (new := self.size.of(*old)) == old:
            return pictures
        # Pillow filters rows, cuts to the range of a byte, then columns: bicubic overshoots would differ in one go.
        for part in ((old[0], new[1]), new):
            pictures = functional.interpolate(pictures, part, mode=self.filter, antialias=True).clamp(0, 1)
        return pictures

    def _cropped(self, pictures: Tensor) -> Tensor:
        if self.crop is None:
            return pictures
        (height, width), (rows, columns) = pictures.shape[-2:], self.crop
        if height < rows or width < columns:
            raise ValueError(
                f"pictures of {height} x {width} are smaller than the {rows} x {columns} that the processor cuts from "
                "them; give larger ones"
            )
        top, left = (height - rows) // 2, (width - columns) // 2
        return pictures[..., top : top + rows, left : left + columns]


def preprocessing_of(processor: Any) -> Preprocessing:
    """The function of a loaded transformers picture processor.

    Raises:
        Unsupported: a processor or filter whose effect is not known here.
    """
    kind = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    if kind not in (*_PLAIN, *_PERCENT_OF_CROP):
        raise Unsupported(
            f"{kind} cannot be differentiated through: use a model whose processor is one of "
            f"{', '.join((*_PLAIN, *_PERCENT_OF_CROP))}, or give the preprocessing yourself"
        )
    if processor.do_resize and int(processor.resample) not in _FILTERS:
        raise Unsupported(f"{kind} resizes with Pillow's filter {int(processor.resample)}: use bilinear or bicubic")
    size, crop = _percent_of_crop(processor) if kind in _PERCENT_OF_CROP else _plain(processor)
    normalises = processor.do_normalize
    return Preprocessing(
        size=size if processor.do_resize else None,
        filter=_FILTERS[int(processor.resample)] if processor.do_resize else "bilinear",
        crop=crop,
        scale=255 * processor.rescale_factor if processor.do_rescale else 255.0,
        mean=tuple(processor.image_mean) if normalises else (0.0, 0.0, 0.0),
        std=tuple(processor.image_std) if normalises else (1.0, 1.0, 1.0),
    )


def _plain(processor: Any) -> tuple[Exactly | ShortestEdge, tuple[int, int] | None]:
    size = dict(processor.size)
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", None) else None
    return _sized(size), (crop["height"], crop["width"]) if crop else None


def _sized(size: dict[str, int]) -> Exactly | ShortestEdge:
    if size.get("shortest_edge"):
        return ShortestEdge(length=size["shortest_edge"], longest=size.get("longest_edge"))
    if size.get("height") and size.get("width"):
        return Exactly(height=size["height"], width=size["width"])
    raise Unsupported(
        f"a processor whose size names {', '.join(size)} cannot be differentiated through: use one whose size is a "
        "height and a width, or a shortest edge"
    )


def _percent_of_crop(processor: Any) -> tuple[Exactly | ShortestEdge, tuple[int, int] | None]:
    edge = dict(processor.size)["shortest_edge"]
    if edge >= _WARPED_FROM:
        return Exactly(height=edge, width=edge), None
    return ShortestEdge(length=int(edge / processor.crop_pct)), (edge, edge) if processor.do_resize else None
