"""The best that can be said of a picture by someone who saw nothing: one picture for all."""

from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

from sfumato.attacks.own_latents import own_latents
from sfumato.audit.judging import Known, Scores, score_pictures
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_decoder

_OWN = 24
"""Pictures of other people that the attacker makes itself."""

Picture = UInt8[np.ndarray, "1 rows columns 3"]


def stricter(prior: Scores, known: Known) -> Scores:
    """For each metric the better by its mean: an attack's own guess without a transcript, or one picture for all.

    A guess that saw nothing may be poor, as a random portrait is by PSNR; then whatever comes out of noise beats it.

    Args:
        prior: of a guess of pictures.
        known: what it was judged by.
    """
    truth = known.truth.pictures
    factor = 2 ** (len(known.model.config("vae")["block_out_channels"]) - 1)
    constant = blind_pictures(known.model, (truth.shape[1] // factor, truth.shape[2] // factor))
    found = dict(prior)
    for metric, values in prior.items():
        picture = constant[metric.removesuffix(" outside")]
        blind = score_pictures(np.repeat(picture, len(truth), axis=0), truth, known.outside)[metric]
        if blind.mean() > values.mean():
            found[metric] = blind
    return found


@lru_cache(maxsize=2)
def blind_pictures(model: ModelFolder, size: tuple[int, int]) -> dict[str, Picture]:
    """For each metric the one picture that is nearest to pictures of other people on average.

    It is chosen among such pictures and their mean, before any secret is known.

    Args:
        model: public.
        size: rows and columns of a latent.
    """
    latents, decoder = own_latents(model, size, _OWN), load_decoder(model)
    own = to_uint8(decode(decoder, latents))
    candidates = np.concatenate([to_uint8(decode(decoder, latents.mean(0, keepdim=True))), own])
    found: dict[str, list[float]] = {}
    for place, candidate in enumerate(candidates):
        others = own if place == 0 else np.delete(own, place - 1, axis=0)
        for metric, values in score_pictures(np.repeat(candidate[None], len(others), axis=0), others).items():
            found.setdefault(metric, []).append(float(values.mean()))
    return {metric: candidates[[int(np.argmax(values))]] for metric, values in found.items()}
