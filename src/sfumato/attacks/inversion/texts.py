"""The attacker's words as conditioning of the public model."""

from collections.abc import Sequence

import torch

from sfumato.errors import Unsupported
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.denoiser import Conditioning
from sfumato.models.folder import ModelFolder


class PriorTexts:
    """The text encoder of a public model, asked once for each text.

    Without words the embedding is zero, as in the paper, and not that of an empty prompt.

    Args:
        model: the public model.
        picture_size: height and width in pixels, which some models are told.
        guided: whether conditioning has a negative half, without words.

    Source: "Unlocking Visual Secrets", Section 4.
    """

    def __init__(self, model: ModelFolder, picture_size: tuple[int, int], *, guided: bool) -> None:
        self._encoder = PromptEncoder(model)
        self._size, self._guided = picture_size, guided
        self._known: dict[str, Conditioning] = {}

    def conditioning(self, texts: Sequence[str], device: torch.device) -> Conditioning:
        """One row a text, with guidance the negative half before them.

        Raises:
            Unsupported: a text is longer than the encoder takes.
        """
        rows = [self._row(text) for text in texts]
        return _joined([self._row("")] * len(rows) + rows if self._guided else rows).to(device)

    def _row(self, text: str) -> Conditioning:
        if text not in self._known:
            if surplus := self._encoder.surplus_tokens(text):
                raise Unsupported(
                    f"a prior is {surplus} tokens longer than the {self._encoder.num_tokens} that the model's text "
                    "encoder takes: shorten it"
                )
            height, width = self._size
            found = self._encoder.encode(
                [text], None, guided=False, num_images_per_prompt=1, height=height, width=width
            )
            self._known[text] = found if text else _without_words(found)
        return self._known[text]


def _without_words(row: Conditioning) -> Conditioning:
    pooled = None if row.pooled is None else torch.zeros_like(row.pooled)
    return Conditioning(prompt_embeds=torch.zeros_like(row.prompt_embeds), pooled=pooled, time_ids=row.time_ids)


def _joined(rows: Sequence[Conditioning]) -> Conditioning:
    first = rows[0]
    return Conditioning(
        prompt_embeds=torch.cat([row.prompt_embeds for row in rows]),
        pooled=None if first.pooled is None else torch.cat([row.pooled for row in rows if row.pooled is not None]),
        time_ids=None if first.time_ids is None else torch.cat([r.time_ids for r in rows if r.time_ids is not None]),
    )
