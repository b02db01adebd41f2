"""What a user gives besides the spec, and no cloud is told: chiefly the small model that finishes a picture here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sfumato.models.folder import ModelFolder, find_model
from sfumato.protocols.base import Spec
from sfumato.protocols.client_half import Private
from sfumato.protocols.prompt_set.spec import PromptSet

DEVICE_MODELS = {"portraits": "portraits-device"}
"""Of bundled models: the one that was distilled from each."""


def private_of(
    spec: Spec,
    model: ModelFolder,
    device_model: str | Path | None = None,
    taxonomy: str | Path | None = None,
    detectors: Sequence[Any] = (),
) -> Private:
    """Gathers what the client half of a protocol needs; see :meth:`PrivatePipeline.from_pretrained`.

    Raises:
        ValueError: the protocol needs a device model and none is known, or has no use for what was given.
        ModelError: the device model cannot be found.
    """
    if isinstance(spec, PromptSet):
        return Private(
            model=model,
            device_model=find_model(device_model or _device_model_for(model)),
            taxonomy=Path(taxonomy) if taxonomy else None,
            detectors=tuple(detectors),
        )
    given = {"a device model": device_model, "a taxonomy": taxonomy, "detectors": detectors}
    if surplus := [name for name, value in given.items() if value]:
        raise ValueError(f"{spec.name} has no use for {' or '.join(surplus)}: only {PromptSet.name} has")
    return Private(model=model)


def _device_model_for(model: ModelFolder) -> str:
    if model.name not in DEVICE_MODELS:
        raise ValueError(
            f"{PromptSet.name} finishes pictures with a small model on this device, and none is known for "
            f"{model.name!r}: name one of the same latent space and noise schedule with --device-model "
            "(device_model=); docs/protocols/prompt-set.md lists pairs"
        )
    return DEVICE_MODELS[model.name]
