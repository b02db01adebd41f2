"""What an attacker guesses without a transcript: a number of pictures, their size, and the public model."""

from sfumato.attacks.homomorphic.base import PartlyHidden
from sfumato.attacks.homomorphic.paper_steps import paper_steps
from sfumato.attacks.own_latents import own_latents
from sfumato.attacks.view import RunView


def mean_guess(view: RunView, num: int) -> PartlyHidden:
    """The mean of latents that the attacker made itself: of all guesses the one that is closest on average.

    Args:
        view: of which only sizes are read, and which entries were encrypted, so that both guesses are judged alike.
        num: how many it makes.

    Raises:
        LacksInput: a run that the attack cannot read.
        ValueError: fewer than one.
    """
    hidden = paper_steps(view)[-1].hidden
    batch, _, height, width = hidden.shape
    mean = own_latents(view.model, (height, width), num).mean(dim=0, keepdim=True)
    return PartlyHidden(
        latents=mean.expand(batch, -1, -1, -1),
        was_hidden=hidden.mask(),
        finding=f"the mean of {num} pictures of other portraits",
    )
