"""What an attacker shows for a picture that it knows nothing of: one of its own."""

import torch

from sfumato.attacks.draws import generator_for
from sfumato.attacks.own_latents import own_latents
from sfumato.attacks.picture.sizes import latent_size
from sfumato.attacks.view import RunView
from sfumato.tensors import Latent


def other_pictures(view: RunView, samples: int, seed: int) -> Latent:
    """A picture of its own for each of the run's, in an order of its own.

    Args:
        view: of which the settings are read.
        samples: how many it has made.
        seed: of the order.

    Raises:
        LacksInput: the run's settings are not known.
    """
    own = own_latents(view.model, latent_size(view), samples)
    order = torch.randperm(len(own), generator=generator_for("own pictures", seed))
    return own[order[torch.arange(view.known_settings().num_pictures) % len(own)]]
