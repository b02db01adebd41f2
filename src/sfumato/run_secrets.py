"""What only the client of one run knew, as a file beside a recording and never in it: what attacks are judged by."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sfumato.errors import StorageError
from sfumato.files import write_whole

_LATENTS = "latents"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunSecrets:
    """The prompt, the seed, and the latents of every step.

    Reveals: everything that a protocol may hide, to whoever can read the file.
    """

    model_fingerprint: str
    prompt: str = field(repr=False)
    negative_prompt: str | None = field(repr=False)
    seed: int | None = field(repr=False)
    latents: Float[Tensor, "state batch channel height width"] = field(repr=False)
    """In fp32, in the units of the scheduler: before the first step, and after each."""

    def write(self, path: Path) -> None:
        """Writes the file, which only its owner may read, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        facts = {"model_fingerprint": self.model_fingerprint, "prompt": self.prompt}
        if self.negative_prompt is not None:
            facts["negative_prompt"] = self.negative_prompt
        if self.seed is not None:
            facts["seed"] = str(self.seed)
        content = save({_LATENTS: self.latents.float().contiguous()}, metadata=facts)
        write_whole(path, lambda stream: stream.write(content), private=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads what :meth:`write` wrote.

        Raises:
            StorageError: there is no such file, or it holds something else.
        """
        try:
            with safe_open(path, framework="pt") as content:
                facts, latents = content.metadata() or {}, content.get_tensor(_LATENTS)
            seed = facts.get("seed")
            if latents.dtype != torch.float32 or latents.ndim != 5 or len(latents) < 2:
                raise ValueError("shape")
            return cls(
                model_fingerprint=facts["model_fingerprint"],
                prompt=facts["prompt"],
                negative_prompt=facts.get("negative_prompt"),
                seed=None if seed is None else int(seed),
                latents=latents,
            )
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise StorageError(
                f"{path} holds no secrets of a run; name a file that 'generate --secrets' wrote"
            ) from error
