"""Multinomial logistic regression with a ridge penalty that is chosen on what is held out.

Source: Hastie, Tibshirani and Friedman 2009, "The Elements of Statistical Learning", sections 4.4.1, 7.10 and 18.3.5.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_FOLDS = 4
_ITERATIONS = 40


def fitted(
    rows: Float[Tensor, "example number"], classes: Int[Tensor, " example"], num_classes: int
) -> Float[Tensor, "weight class"]:
    """Weights of standardised rows; the last row of weights is the intercept."""
    folds = torch.arange(len(rows)) % _FOLDS
    losses = []
    for penalty in _PENALTIES:
        held = [_held_out(rows, classes, num_classes, penalty, folds == fold) for fold in range(_FOLDS)]
        losses.append(sum(held))
    best = _PENALTIES[losses.index(min(losses))]
    return _fit(rows, classes, num_classes, best)


def probabilities(
    rows: Float[Tensor, "picture number"], weights: Float[Tensor, "weight class"]
) -> Float[Tensor, "picture class"]:
    """Of every class."""
    return functional.softmax(rows @ weights[:-1] + weights[-1], dim=1)


def _held_out(rows: Tensor, classes: Tensor, num_classes: int, penalty: float, held: Tensor) -> float:
    weights = _fit(rows[~held], classes[~held], num_classes, penalty)
    found = probabilities(rows[held], weights)
    return float(functional.nll_loss(found.clamp_min(1e-12).log(), classes[held]))


def _fit(rows: Tensor, classes: Tensor, num_classes: int, penalty: float) -> Tensor:
    weights = rows.new_zeros(rows.shape[1] + 1, num_classes)
    # The intercept begins at the frequencies, with each class seen once more.
    weights[-1] = (torch.bincount(classes, minlength=num_classes).double() + 1).log()
    weights.requires_grad_()
    optimiser = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = rows @ weights[:-1] + weights[-1]
        total = functional.cross_entropy(logits, classes) + penalty * weights[:-1].square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    return weights.detach()
