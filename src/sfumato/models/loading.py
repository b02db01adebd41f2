"""Loads the parts of a model folder, each on its own."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from sfumato.errors import ModelError, Unsupported
from sfumato.models.folder import ModelFolder
from sfumato.models.hub import quiet_diffusers, quiet_transformers
from sfumato.models.weights import (
    Wanted,
    assign_weights,
    has_dtype,
    missing_weights,
    read_weights,
    shared_copy,
)


def everything(_: str) -> bool:
    """Wants every parameter."""
    return True


def nothing(_: str) -> bool:
    """Wants no parameter: the module stays on the meta device, and can be counted."""
    return False


def load_unet(
    model: ModelFolder,
    wanted: Callable[[nn.Module], Wanted] | None = None,
    dtype: torch.dtype = torch.float32,
    shared_under: Path | None = None,
) -> nn.Module:
    """Loads the U-Net with only the wanted parameters; the rest stays on the meta device.

    Args:
        model: its folder.
        wanted: given the U-Net on the meta device, says which parameters to load; None loads all.
        dtype: of the loaded parameters.
        shared_under: a cache folder for weights converted to ``dtype``, so that processes share one mapped copy;
            None converts in this process's memory.

    Raises:
        ModelError: files are missing, damaged, or do not belong together.
        Unsupported: the model's denoiser is not a ``UNet2DConditionModel``.
    """
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    if (found := model.class_name("unet")) != "UNet2DConditionModel":
        raise Unsupported(f"model {model.name!r} denoises with {found}; sfumato runs UNet2DConditionModel")
    config = model.config("unet")
    _refuse_other_inputs(config, model.name)
    unet = _on_meta(UNet2DConditionModel, model, "unet")
    files = model.weight_files if shared_under is None else partial(_shared_files, model, dtype, shared_under)
    _fill(unet, model, "unet", wanted(unet) if wanted else everything, dtype, files)
    return unet.requires_grad_(False).eval()


def _refuse_other_inputs(config: dict[str, Any], name: str) -> None:
    """U-Nets that want more than a latent, a time and text would get a wrong picture, not an error."""
    wants = [key for key in ("class_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim") if config.get(key)]
    if (added := config.get("addition_embed_type")) not in (None, "text_time"):
        wants.append(f"addition_embed_type={added}")
    if wants:
        raise Unsupported(
            f"the U-Net of model {name!r} needs {', '.join(wants)}; "
            "sfumato runs text-to-image models of the Stable Diffusion 1.x, 2.x and XL kind"
        )


def meta_unet(model: ModelFolder) -> nn.Module:
    """Builds the U-Net on the meta device, to count and to look at; reads no weights."""
    return load_unet(model, lambda _: nothing)


def scaling_factor(model: ModelFolder) -> float:
    """Of the latent space: by what the autoencoder's latents are multiplied; read from its configuration."""
    return float(model.config("vae").get("scaling_factor", 0.18215))


def load_decoder(model: ModelFolder, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Loads the autoencoder with the weights of its decoder only.

    Raises:
        ModelError, Unsupported: as :func:`load_unet`.
    """
    return _load_vae(model, ("decoder.", "post_quant_conv."), dtype)


def load_encoder(model: ModelFolder, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Loads the autoencoder with the weights of its encoder only.

    Raises:
        ModelError: as :func:`load_unet`, also where the folder was saved without an encoder.
        Unsupported: as :func:`load_unet`.
    """
    return _load_vae(model, ("encoder.", "quant_conv."), dtype)


def _load_vae(model: ModelFolder, wanted: tuple[str, ...], dtype: torch.dtype) -> nn.Module:
    import diffusers

    name = model.class_name("vae")
    if name not in ("AutoencoderKL", "AutoencoderTiny"):
        raise Unsupported(f"model {model.name!r} decodes with {name}; use AutoencoderKL or AutoencoderTiny")
    vae = _on_meta(getattr(diffusers, name), model, "vae")
    _fill(vae, model, "vae", lambda path: path.startswith(wanted), dtype, model.weight_files)
    return vae.requires_grad_(False).eval()


def _on_meta(kind: Any, model: ModelFolder, component: str) -> Any:
    """Builds a component from its configuration, without weights."""
    config = model.config(component)
    try:
        # A configuration of something else is told below, not in a warning.
        with quiet_diffusers(), torch.device("meta"):
            return kind.from_config(config)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise ModelError(
            f"model {model.name!r} is damaged: nothing can be built from the configuration of its {component}"
        ) from error


def _shared_files(model: ModelFolder, dtype: torch.dtype, cache: Path, component: str) -> list[Path]:
    files = model.weight_files(component)
    if all(has_dtype(file, dtype) for file in files):
        return files
    try:
        return [shared_copy(files, dtype, cache, model.unet_fingerprint)]
    except OSError:  # a read-only or full cache costs memory, not correctness
        return files


def _fill(
    module: nn.Module,
    model: ModelFolder,
    component: str,
    wanted: Wanted,
    dtype: torch.dtype,
    files: Callable[[str], list[Path]],
) -> None:
    if wanted is nothing:
        return
    weights = read_weights(files(component), wanted, dtype)
    assign_weights(module, weights, model.name)
    if absent := missing_weights(module, wanted):
        raise ModelError(
            f"model {model.name!r} is incomplete: {len(absent)} tensors of its {component} are missing, "
            f"first {absent[0]}"
        )


def load_text_encoder(model: ModelFolder, component: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Loads ``text_encoder`` or ``text_encoder_2``.

    Raises:
        ModelError: files are missing or damaged.
    """
    import transformers

    name = model.class_name(component)
    if name not in ("CLIPTextModel", "CLIPTextModelWithProjection"):
        raise Unsupported(f"model {model.name!r} reads prompts with {name}; use a CLIP text encoder")
    model.weight_files(component)
    try:
        with quiet_transformers():
            encoder, found = getattr(transformers, name).from_pretrained(
                model.path / component, dtype=dtype, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"model {model.name!r} is damaged: its {component} cannot be loaded") from error
    # transformers would go on with random weights in their place.
    if absent := sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"]):
        raise ModelError(
            f"model {model.name!r} is incomplete: {len(absent)} tensors of its {component} are missing, "
            f"first {absent[0]}"
        )
    return encoder.requires_grad_(False).eval()


def load_tokenizer(model: ModelFolder, component: str) -> Any:
    """Loads ``tokenizer`` or ``tokenizer_2``.

    Raises:
        ModelError: files are missing or damaged.
    """
    from transformers import CLIPTokenizer

    try:
        return CLIPTokenizer.from_pretrained(model.path / component)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ModelError(f"model {model.name!r} is damaged: its {component} cannot be loaded") from error
