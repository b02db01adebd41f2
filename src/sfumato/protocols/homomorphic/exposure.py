"""Keeps account, on the client, of what a run of mode=paper showed the cloud; the report states it."""

from collections.abc import Sequence
from typing import Any

import torch

from sfumato.metrics.agreement import correlation
from sfumato.protocols.homomorphic.disclosure import Seen, first_noise, last_latents
from sfumato.protocols.homomorphic.index_set import IndexSet
from sfumato.protocols.homomorphic.updates import LinearUpdate
from sfumato.tensors import Latent


class Exposure:
    """One run's.

    Run by: client.
    """

    def __init__(self, updates: Sequence[LinearUpdate], prediction_type: str):
        self._updates = updates
        self._prediction_type = prediction_type
        self._seen: list[Seen] = []
        self._fractions: list[float] = []
        self._num_ciphertexts = 0
        self._num_returned = 0
        self._last_input: Latent | None = None
        self._correlation: float | None = None

    def add(self, latents: Latent, hidden: IndexSet, prediction: Latent | None, num_ciphertexts: int) -> None:
        """Takes one step's latents before it, what of them is encrypted, and the prediction where it is sent."""
        is_public = ~hidden.mask()
        if prediction is None:
            self._last_input = latents
            self._num_returned += latents.numel() if self._fractions else 0
        else:
            before = self._seen[-1].is_public if self._seen else torch.ones_like(is_public)
            self._num_returned += int((is_public & ~before).sum())
            exact = latents.double()
            self._seen.append(
                Seen(
                    prediction=prediction.double(), is_public=is_public, latent=torch.where(is_public, exact, 0 * exact)
                )
            )
        self._fractions.append(hidden.fraction)
        self._num_ciphertexts += num_ciphertexts

    def end(self, latents: Latent) -> None:
        """Takes the result, and estimates it from what the cloud saw."""
        if self._last_input is not None:
            estimate = self._last_input
        else:
            noise = first_noise(self._updates, self._seen, self._prediction_type)
            estimate = last_latents(self._updates, self._seen, noise)
        self._correlation = correlation(estimate, latents)

    @property
    def fraction_public(self) -> float:
        """Of the entries of a latent, mean of the steps."""
        return 1 - sum(self._fractions) / max(len(self._fractions), 1)

    def sentence(self) -> str:
        """What it came to, for people."""
        percent = f"{100 * (1 - self.fraction_public):.0f} %"
        return (
            f"In this run {percent} of each latent's entries were encrypted, and the last latent follows from what the "
            f"cloud read with a correlation of {self._correlation or 0:.3f}."
        )

    def to_dict(self, parameters: str) -> dict[str, Any]:
        """What the report says under ``encryption``."""
        is_open = self._last_input is not None
        return {
            "parameters": parameters,
            "ciphertexts": self._num_ciphertexts,
            "prompt_in_clear": is_open,
            "index_set_public": True,
            "fraction_public": self.fraction_public,
            "predictions_public": True,
            "unet_input_public": is_open,
            "decrypted_values_returned": self._num_returned > 0,
            "verdict": "no confidentiality" if is_open else "little is hidden",
            "attack_correlation": self._correlation,
        }
