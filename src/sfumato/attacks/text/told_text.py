"""The embedding of the prompt, from the embedding itself or from linear images of it.

Source: ours. K and V of the text's tokens are its images under public matrices, as PPIDM's clouds receive them (Wang
et al. 2025, doi 10.1109/TCSVT.2025.3553514, Section IV-C.2).
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.seen.base import Half
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_unet
from sfumato.tensors import TokenEmbeddings

Projections = Mapping[str, tuple[Float[Tensor, "row token inner"], Float[Tensor, "row token inner"]]]


def prompt_embeds(view: RunView) -> TokenEmbeddings:
    """One row a picture.

    Raises:
        LacksInput: no cloud of the view is told the text, or only the negative prompt's.
    """
    reader = reader_of(view)
    text = reader.text(view)
    embeds = text.embeds if text.embeds is not None else solved(view.model, text.projections)
    if text.half is Half.NEGATIVE:
        raise LacksInput("these clouds are told the negative prompt's text only, not the prompt's")
    if text.half is Half.PROMPT:
        return embeds
    return embeds[-_num_pictures(view, len(embeds)) :]


def solved(model: ModelFolder, projections: Projections) -> TokenEmbeddings:
    """The embedding whose images K and V are, by least squares over the projections of all layers.

    Args:
        model: public.
        projections: K and V by the path of the layer.
    """

    def is_projection(parameter: str) -> bool:
        return parameter.startswith(tuple(f"{path}.to_" for path in projections))

    unet: Any = load_unet(model, lambda _: is_projection)
    matrices, images = [], []
    for path, seen in projections.items():
        attn = unet.get_submodule(path)
        for layer, image in zip((attn.to_k, attn.to_v), seen, strict=True):
            matrices.append(layer.weight.double())
            images.append(image.double() if layer.bias is None else (image - layer.bias).double())
    back = torch.linalg.pinv(torch.cat(matrices))
    return (torch.cat(images, dim=-1) @ back.T).float()


def _num_pictures(view: RunView, num_rows: int) -> int:
    """Rows of the prompt; with guidance those of the negative prompt come before them."""
    try:
        return reader_of(view).num_pictures(view)
    except LacksInput:
        # Nothing but the text was offloaded: a run has guidance as a rule.
        return num_rows // 2 if num_rows % 2 == 0 else num_rows
