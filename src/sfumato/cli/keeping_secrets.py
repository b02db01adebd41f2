"""``generate --secrets``: what only this device knew of a run, kept to judge attacks by."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.files import check_writable

if TYPE_CHECKING:
    from sfumato.client.pipeline import PrivatePipeline
    from sfumato.protocols.base import Spec
    from sfumato.run_secrets import RunSecrets


def check_secrets_file(path: Path, others: Sequence[Path | None], record: Path | None) -> None:
    """Finds out before a run whether its secrets can be written.

    Raises:
        ValueError: another kind of name, the name of another output, a file that exists, or a folder that cannot be
            written or is the recording's.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"--secrets must name a .safetensors file, got {path}")
    if path in others:
        raise ValueError(f"--secrets and another output are both named {path}: name two files")
    if record is not None and path.resolve().is_relative_to(record.resolve()):
        raise ValueError(
            f"--secrets {path} is in the folder of --record, which is what clouds saw: name another folder"
        )
    if path.exists():
        raise ValueError(f"--secrets {path} exists: name a new file")
    check_writable(path)


def require_steps(spec: "Spec") -> None:
    """Refuses a protocol in which this device has no latents of some steps.

    Raises:
        ValueError: it is one.
    """
    from sfumato.protocols.prompt_set.spec import PromptSet

    if isinstance(spec, PromptSet):
        raise ValueError(
            "with prompt-set the first steps are made at the cloud alone, so this device does not know their latents: "
            "leave out --secrets"
        )


class KeptLatents:
    """The latents of a run under way."""

    def __init__(self) -> None:
        self._latents: list[Any] = []

    def add(self, pipe: "PrivatePipeline", latents: Any) -> None:
        """Takes the latents after a step, and once those before the first."""
        if not self._latents:
            self._latents.append(pipe.first_latents)
        self._latents.append(latents)

    def secrets(self, pipe: "PrivatePipeline", prompt: str, negative: str | None, seed: int | None) -> "RunSecrets":
        """All that is kept, after the last step."""
        import torch

        from sfumato.run_secrets import RunSecrets

        return RunSecrets(
            model_fingerprint=pipe.model.unet_fingerprint,
            prompt=prompt,
            negative_prompt=negative,
            seed=seed,
            latents=torch.stack([latents.float() for latents in self._latents]),
        )
