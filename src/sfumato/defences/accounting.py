"""(epsilon, delta) of Gaussian noise, as the opacus library states it."""

from math import isfinite

from sfumato.defences.base import Guarantee
from sfumato.errors import Unsupported

_LARGEST_EPSILON = 500.0
"""Above it opacus looks for none; long before, epsilon promises nothing."""


def gaussian_guarantee(deviation_over_sensitivity: float, delta: float) -> Guarantee:
    """What one release with Gaussian noise promises.

    Args:
        deviation_over_sensitivity: the noise's standard deviation, over the largest distance of two releases without
            noise.
        delta: in (0, 1).

    Raises:
        Unsupported: opacus is not installed.

    Source: Dong, Roth, Su 2019, arXiv 1905.02383, Theorem 1: the Gaussian mechanism is exactly (1 / that)-GDP; opacus
        turns it into (epsilon, delta), Corollary 1.
    """
    try:
        import opacus
        from opacus.accountants.analysis.gdp import delta_eps_mu, eps_from_mu
    except ImportError as error:
        raise Unsupported(
            "the epsilon of noise is stated by opacus, which is not installed: pip install 'sfumato[defences]'"
        ) from error
    mu, accountant = 1 / deviation_over_sensitivity, f"opacus {opacus.__version__}, Gaussian DP"
    if float(delta_eps_mu(eps=0.0, mu=mu)) <= delta:
        return Guarantee(epsilon=0.0, delta=delta, accountant=accountant)
    # delta is not lower at the largest epsilon, or cannot be computed there.
    at_largest = float(delta_eps_mu(eps=_LARGEST_EPSILON, mu=mu))
    if not isfinite(at_largest) or at_largest >= delta:
        return Guarantee(epsilon=None, delta=delta, accountant=accountant)
    return Guarantee(epsilon=float(eps_from_mu(mu=mu, delta=delta)), delta=delta, accountant=accountant)
