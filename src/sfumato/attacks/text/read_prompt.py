"""The prompt from what a cloud is told of its text: K and V, the embedding, or texts among which it is.

Source: ours; K and V of text tokens are what PPIDM's clouds receive (Wang et al. 2025, doi
10.1109/TCSVT.2025.3553514). That text can be read from embeddings: Morris et al. 2023, arXiv 2310.06816, who train an
inverter; here the encoder is public and causal, and a search finds the very words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sfumato.attacks.base import Attack
from sfumato.attacks.guesses import PromptGuess, Secret
from sfumato.attacks.own_prompts import most_alike, own_prompts
from sfumato.attacks.seen.catalog import READERS, reader_of
from sfumato.attacks.text.prefix_encoder import PrefixEncoder
from sfumato.attacks.text.token_search import Found, TokenSearch
from sfumato.attacks.text.told_text import prompt_embeds
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.protocols.base import setting
from sfumato.tensors import TokenEmbeddings


@dataclass(frozen=True, kw_only=True)
class ReadPrompt(Attack):
    """Solves K and V of all cross-attention layers for the embedding, and searches its words one after another.

    Every token is tried in every place, which takes seconds for the bundled model's vocabulary of 870, and with tens of
    thousands minutes for each place.

    Run by: attacker. Of a prompt set it says the candidate that shares most with the others.
    """

    name: ClassVar[str] = "read-prompt"
    needs: ClassVar[str] = "the text embedding, K and V of the text, or a set of prompts"
    secret: ClassVar[Secret] = Secret.PROMPT

    beam: int = setting(2, "beginnings of the text that are followed at once")
    samples: int = setting(100, "prompts of its own, to guess without the transcript")

    def run(self, view: RunView) -> PromptGuess:
        """Reads the text of every picture."""
        try:
            sets = reader_of(view).prompts(view)
        except LacksInput:
            return self._searched(view, prompt_embeds(view))
        texts = tuple(most_alike(each) for each in sets)
        return PromptGuess(texts=texts, finding="of the texts that were sent, the one that shares most with the others")

    def prior(self, view: RunView) -> PromptGuess:
        """Of prompts of its own, the one that shares most with the others."""
        text = most_alike(own_prompts(self.samples))
        number = reader_of(view).num_pictures(view)
        return PromptGuess(texts=(text,) * number, finding=f"the most ordinary of {self.samples} other prompts")

    def keeps(self, kind: str, values: Mapping[str, Any]) -> bool:
        """What tells of text."""
        return any(reader.keeps("text", kind, values) for reader in READERS.values())

    def _searched(self, view: RunView, embeds: TokenEmbeddings) -> PromptGuess:
        search = TokenSearch(PrefixEncoder(view.model), beam=self.beam)
        found: list[Found] = []
        for place, row in enumerate(embeds):
            # Pictures of one prompt have one embedding.
            same = next((i for i in range(place) if torch.equal(embeds[i], row)), None)
            found.append(search.find(row) if same is None else found[same])
        distance = max(each.distance for each in found)
        return PromptGuess(
            texts=tuple(each.text for each in found),
            embeds=embeds,
            finding=f"texts whose embeddings are those that were seen up to {distance:.1e} of their size",
        )
