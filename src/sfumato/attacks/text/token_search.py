"""From a text embedding to the text: position by position, the token whose embedding is nearest."""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.text.prefix_encoder import Prefix, PrefixEncoder

_HOPELESS = 10.0
"""A beginning that fits so many times worse than the best is given up."""
_TOGETHER = 4096
"""Tokens in one call of the encoder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A text."""

    text: str
    distance: float
    """Mean squared distance of its embeddings, relative to those sought; near 0 for the very text."""


class TokenSearch:
    """Searches texts.

    Args:
        encoder: public.
        beam: beginnings kept from position to position.
    """

    def __init__(self, encoder: PrefixEncoder, *, beam: int):
        self._encoder, self._beam = encoder, beam
        self._start = encoder.start()

    @torch.no_grad()
    def find(self, embeds: Float[Tensor, "token width"]) -> Found:
        """The text of one embedding; ends where the token that ends texts is the nearest."""
        wanted = embeds[:, : self._encoder.width]
        beams: list[tuple[float, Prefix]] = [(0.0, self._start)]
        end = self._encoder.tokenizer.eos_token_id
        for position in range(1, min(len(wanted), self._encoder.length)):
            beams = self._advance(beams, wanted[position])
            if beams[0][1].tokens[-1] == end:
                break
        distance, best = beams[0]
        text = self._encoder.tokenizer.decode(best.tokens[1:], skip_special_tokens=True)
        # The tokenizer parts marks from words; it reads both forms alike.
        return Found(
            text=re.sub(r" ([,.;:!?])| (-) ", r"\1\2", text).strip(), distance=distance / max(1, len(best.tokens) - 1)
        )

    def _advance(
        self, beams: list[tuple[float, Prefix]], wanted: Float[Tensor, " width"]
    ) -> list[tuple[float, Prefix]]:
        tokens = torch.arange(self._encoder.num_tokens)
        found = []
        for distance, prefix in beams:
            if prefix.tokens[-1] == self._encoder.tokenizer.eos_token_id:
                continue
            for part in tokens.split(_TOGETHER):
                made = self._encoder.continued(prefix, part)
                away = (made.embeds - wanted).square().sum(-1) / wanted.square().sum()
                for candidate in away.argsort()[: self._beam]:
                    found.append((distance + float(away[candidate]), made, int(candidate)))
        best = sorted(found, key=lambda each: each[0])[: self._beam]
        limit = _HOPELESS * max(best[0][0], 1e-9)
        return [(distance, made.take(candidate)) for distance, made, candidate in best if distance <= limit]
