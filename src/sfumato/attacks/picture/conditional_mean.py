"""The rest of a latent from its known cells: the conditional mean under a Gaussian prior of the attacker's own latents.

Source: Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", eq. 2.19, with the sample covariance and
independent noise of the size of its mean variance, which few samples need; solved among samples, not among cells.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sfumato.tensors import Latent


def filled_in(
    known: Latent, is_known: Bool[Tensor, "height width"], own: Float[Tensor, "own channel height width"]
) -> Latent:
    """Keeps known cells and guesses the others.

    Args:
        known: their values, and anything elsewhere.
        is_known: where they are, in all latents and channels; nowhere gives the mean.
        own: latents of the attacker's own, two or more.

    Raises:
        ValueError: fewer than two own latents.
    """
    if len(own) < 2:
        raise ValueError(f"a covariance is estimated from 2 pictures or more, got {len(own)}")
    mean = own.double().mean(dim=0)
    if not is_known.any():
        return mean.float().expand_as(known)
    basis = own.double() - mean
    seen, there = basis[..., is_known].flatten(1), (known.double() - mean)[..., is_known].flatten(1)
    gram = seen @ seen.T
    noise = gram.diagonal().mean() * torch.eye(len(gram))
    weights = torch.linalg.solve(gram + noise, seen @ there.T)
    guess = mean + torch.einsum("nb,nchw->bchw", weights, basis)
    return torch.where(is_known, known.double(), guess).float()
