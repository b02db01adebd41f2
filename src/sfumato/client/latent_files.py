"""Pictures, masks and latents in files: what a vault's client reads and writes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from sfumato.errors import ModelError
from sfumato.files import write_whole
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.encoding import encode
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_decoder, load_encoder
from sfumato.tensors import Latent

LATENTS = (".npy", ".safetensors")
"""Endings of files that hold a latent and no picture."""


def read_latent(path: Path, model: ModelFolder) -> Latent:
    """Reads a picture and encodes it with the model, or reads a latent of it.

    Run by: client.

    Raises:
        ValueError: the file cannot be read, or is of a size that the model does not take.
        ModelError: the model is incomplete; it needs its encoder for a picture.
    """
    if path.suffix.lower() not in LATENTS:
        picture = _read_picture(path, "RGB")
        return encode(load_encoder(model), torch.from_numpy(picture / 255).float().permute(2, 0, 1)[None])
    latent = _read_tensor(path)
    latent = latent[None] if latent.ndim == 3 else latent
    channels = model.config("vae").get("latent_channels", 4)
    if latent.ndim != 4 or latent.shape[:2] != (1, channels) or not latent.is_floating_point():
        raise ValueError(f"{path} holds no latent of one picture of {model.name}, which has {channels} channels")
    return latent.float()


def write_latent(path: Path, latent: Latent, model: ModelFolder) -> None:
    """Decodes a latent and writes the picture, or writes the latent, by the file's ending.

    Run by: client.

    Raises:
        ModelError: the model is incomplete.
    """
    write_whole(path, _writing(path.suffix.lower(), latent, model))


def require_output(path: Path) -> None:
    """Refuses an output whose ending says neither picture nor latent.

    Raises:
        ValueError: another ending.
    """
    if path.suffix.lower() not in (".png", *LATENTS):
        raise ValueError(f"--out must name a .png, .npy or .safetensors file, got {path}")


def require_model(model: ModelFolder, fingerprint: str) -> ModelFolder:
    """Passes a model on whose autoencoder is the one that a latent was made with.

    Raises:
        ModelError: it is another.
    """
    if model.vae_fingerprint != fingerprint:
        raise ModelError(
            f"the model {model.name!r} has another autoencoder than when the latent was put: restore that one"
        )
    return model


def read_cells(path: Path, height: int, width: int) -> tuple[Float[Tensor, "height width"], tuple[int, int]]:
    """Reads a picture's grey as values in [0, 1], averaged over the area of each cell of a latent.

    Returns:
        The cells, and the picture's own height and width in pixels.

    Raises:
        ValueError: the file cannot be read.
    """
    grey = _read_picture(path, "L")
    cells = Image.fromarray(grey.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    found: tuple[int, int] = grey.shape[:2]
    return torch.from_numpy(np.array(cells) / 255).float().clamp(0, 1), found


def brightening(model: ModelFolder, height: int, width: int) -> Float[Tensor, "channel 1 1"]:
    """What a latent changes by, in each channel, from a black picture to a white one of so many cells.

    Raises:
        ModelError: the model is incomplete.
    """
    encoder = load_encoder(model)
    factor = 2 ** (len(_config(encoder).block_out_channels) - 1)
    black = torch.zeros(1, 3, height * factor, width * factor)
    apart = encode(encoder, black + 1) - encode(encoder, black)
    return apart[0].mean((1, 2), keepdim=True)


def _config(module: nn.Module) -> Any:
    return module.config


def _read_picture(path: Path, mode: str) -> Any:
    with _reading(path, "a picture"), Image.open(path) as picture:
        return np.array(picture.convert(mode))


def _read_tensor(path: Path) -> Tensor:
    with _reading(path, "a latent"):
        if path.suffix.lower() == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        from safetensors.torch import load_file

        (tensor,) = load_file(path).values()
        return tensor


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"cannot read {path}: there is no such file") from None
    except Exception as error:  # whatever Pillow, numpy and safetensors make of a file that is none of theirs
        raise ValueError(f"cannot read {path} as {what}: it is damaged, or something else") from error


def _writing(ending: str, latent: Latent, model: ModelFolder) -> Callable[[Any], object]:
    match ending:
        case ".npy":
            return lambda stream: np.save(stream, latent.numpy())
        case ".safetensors":
            from safetensors.torch import save

            return lambda stream: stream.write(save({"latent": latent.contiguous()}))
    (picture,) = to_uint8(decode(load_decoder(model), latent))
    return lambda stream: Image.fromarray(picture).save(stream, format="PNG")
