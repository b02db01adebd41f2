"""A CLIP model as an instrument: what pictures show, and how far they are from captions and from each other."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, reduce
from itertools import product
from math import isqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray

from sfumato.errors import Unsupported
from sfumato.models.attribute_files import AttributeFiles
from sfumato.models.clip_folder import ClipParts, load_clip

Pictures = NDArray[Any]
"""Bytes of shape (batch, height, width, 3), red-green-blue; checked at run time, with a sentence of our own."""
Rows = Float32[np.ndarray, "batch width"]
Map = Float32[np.ndarray, "batch channel rows columns"]

BUNDLED_ENCODER: Final = "portraits-clip"
_BATCH: Final = 64


class PictureEncoder:
    """A CLIP model that reads pictures as bytes and answers with fp32 arrays, on the CPU, a row a picture.

    Pictures of another size than the model's are scaled by Pillow's antialiased bicubic filter, the shorter side to
    the model's, and cut to the square in the middle, as CLIP's own processor does; all pictures of one call have one
    size. Rows do not depend on which pictures share a call, up to rounding.

    Args:
        name_or_dir: the bundled encoder, a folder in transformers' layout, or a hub name.

    Raises:
        ModelError: nothing of that name, not a CLIP model, or a damaged one.
    """

    def __init__(self, name_or_dir: str | Path = BUNDLED_ENCODER) -> None:
        self._parts: ClipParts = load_clip(name_or_dir)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def name(self) -> str:
        """The model's name, for result tables."""
        return self._parts.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the weights, as hexadecimal: scores of another encoder are not comparable."""
        return self._parts.fingerprint

    @property
    def feature_width(self) -> int:
        """Numbers that `features` gives a picture: 160 for the bundled encoder."""
        return int(self._parts.model.config.vision_config.hidden_size)

    @property
    def attribute_values(self) -> dict[str, tuple[str, ...]]:
        """Each attribute that can be read, with the values in the order of the columns of `attributes`."""
        return {name: tuple(values) for name, values in self._attributes.captions.items()}

    @property
    def classes(self) -> tuple[tuple[str, ...], ...]:
        """What each column of `class_probabilities` stands for: one value of each attribute of `class_attributes`."""
        return tuple(product(*(self._attributes.captions[name] for name in self.class_attributes)))

    @property
    def class_attributes(self) -> tuple[str, ...]:
        """The attributes whose combinations are the classes; bundled: gender, hair colour, background."""
        return self._attributes.classes

    def embed_pictures(self, pictures: Pictures) -> Rows:
        """Projected embeddings of length 1; their product with those of captions is the cosine similarity."""
        return _unit(self._rows(pictures, lambda found: self._parts.model.visual_projection(found.pooler_output)))

    def embed_texts(self, texts: Sequence[str]) -> Rows:
        """Projected embeddings of captions, of length 1; longer texts are cut at the model's last token."""
        if isinstance(texts, str) or not texts:
            raise ValueError("texts must be a list of at least one caption")
        batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
        return _unit(np.concatenate([self._said(batch) for batch in batches]))

    def features(self, pictures: Pictures) -> Rows:
        """Pooled features before the projection, `feature_width` numbers, for Fréchet distances."""
        return self._rows(pictures, lambda found: found.pooler_output)

    def feature_maps(self, pictures: Pictures) -> list[Map]:
        """Patch tokens after the first, the middle and the last transformer block but one, folded back to a grid.

        The last block's are left out: only its class token was trained. For the bundled encoder, blocks 1, 3 and 5
        of 6, each (batch, 160, 8, 8).
        """
        depth = int(self._parts.model.config.vision_config.num_hidden_layers)
        batches = [
            [_folded(found.hidden_states[block]) for block in (1, depth // 2, depth - 1)]
            for found in self._seen(pictures, maps=True)
        ]
        return [np.concatenate(layer) for layer in zip(*batches, strict=True)]

    def attributes(self, pictures: Pictures) -> dict[str, Rows]:
        """For each attribute the probabilities of its values, in the order of `attribute_values`.

        By the linear maps on `features` that the folder holds, as the bundled one does, otherwise by its captions.

        Raises:
            Unsupported: the model's folder holds no captions of attributes.
        """
        if (maps := self._attributes.linear_maps) is None:
            return self.attributes_by_captions(pictures)
        features = self.features(pictures)
        return {name: _softmax(linear(features)) for name, linear in maps.items()}

    def attributes_by_captions(self, pictures: Pictures) -> dict[str, Rows]:
        """As `attributes`, zero-shot: softmax over scaled similarities to the captions that name one value each.

        Raises:
            Unsupported: as `attributes`.
        """
        embedded, scale = self.embed_pictures(pictures), float(self._parts.model.logit_scale.exp())
        return {name: _softmax(scale * embedded @ said.T) for name, said in self._attribute_embeddings.items()}

    def class_probabilities(self, pictures: Pictures) -> Rows:
        """Probabilities of `classes`: products of those of the attributes, which are read independently.

        Raises:
            Unsupported: as `attributes`.
        """
        found = self.attributes(pictures)
        joint = [found[name] for name in self.class_attributes]
        return reduce(lambda a, b: (a[:, :, None] * b[:, None]).reshape(len(a), -1), joint)

    @cached_property
    def _attributes(self) -> AttributeFiles:
        if self._parts.attributes is None:
            raise Unsupported(f"model {self.name!r} names no attributes; use {BUNDLED_ENCODER!r}")
        return self._parts.attributes

    @cached_property
    def _attribute_embeddings(self) -> dict[str, Rows]:
        """One embedding a value: the mean over its captions, not scaled to length 1 again."""
        return {
            name: np.stack([self.embed_texts(captions).mean(0) for captions in values.values()])
            for name, values in self._attributes.captions.items()
        }

    @torch.no_grad()
    def _said(self, texts: Sequence[str]) -> Rows:
        model = self._parts.model
        words = self._parts.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        return model.text_projection(model.text_model(**words).pooler_output).numpy()

    def _rows(self, pictures: Pictures, read: Callable[[Any], torch.Tensor]) -> Rows:
        with torch.no_grad():
            return np.concatenate([read(found).numpy() for found in self._seen(pictures)])

    @torch.no_grad()
    def _seen(self, pictures: Pictures, *, maps: bool = False) -> Iterator[Any]:
        """The picture tower's output, a batch at a time."""
        _check(pictures)
        for start in range(0, len(pictures), _BATCH):
            pixels = self._parts.processor(list(pictures[start : start + _BATCH]), return_tensors="pt")["pixel_values"]
            yield self._parts.model.vision_model(pixel_values=pixels, output_hidden_states=maps)


def _check(pictures: Pictures) -> None:
    got = f"{pictures.dtype} of shape {pictures.shape}"
    if pictures.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8, got {got}; scale floats in [0, 1] by 255 and round them")
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or 0 in pictures.shape:
        raise ValueError(f"pictures must have shape (batch, height, width, 3) without an empty axis, got {got}")


def _folded(states: torch.Tensor) -> NDArray[np.float32]:
    """Patch tokens (batch, 1 + side^2, width) without the class token, as a grid."""
    patches = states[:, 1:].transpose(1, 2)
    side = isqrt(patches.shape[2])
    return patches.unflatten(2, (side, side)).contiguous().numpy()


def _unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _softmax(scores: Rows) -> Rows:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
