"""Final latents as what ``output_type`` asks for."""

from typing import Any, Literal

from PIL import Image
from torch import nn

from sfumato.errors import ModelError
from sfumato.models.decoding import decode, to_uint8
from sfumato.protocols.replies import is_finite
from sfumato.tensors import Latent

OutputType = Literal["pil", "np", "pt", "latent"]


def pictures_of(latents: Latent, decoder: nn.Module, output_type: OutputType, model_name: str) -> Any:
    """Decodes, unless latents are wanted.

    Returns:
        A list of PIL pictures, an array of bytes, or a tensor.

    Raises:
        ModelError: there are numbers that are not finite.
    """
    pictures = latents if output_type == "latent" else decode(decoder, latents)
    if not is_finite(pictures):
        raise ModelError(
            f"model {model_name!r} gave numbers that are not finite: its weights are damaged, "
            "or a number format is too narrow for it"
        )
    if output_type == "latent":
        return latents
    if output_type == "pt":
        return pictures
    array = to_uint8(pictures)
    return array if output_type == "np" else [Image.fromarray(a) for a in array]
