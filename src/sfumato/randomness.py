"""Every source of randomness, by purpose.

Secrets that protect the client come from the operating system. Seeded generators fix pictures and tests and say
so in their name; no mask, key or token is ever drawn from one.
"""

import secrets

import torch


def fresh_seed() -> int:
    """Draws a seed for one picture from the operating system, in [0, 2**31)."""
    return secrets.randbelow(2**31)


def seeded_generator(seed: int) -> torch.Generator:
    """Makes the CPU generator that fixes a picture; never use it for anything secret.

    Args:
        seed: in [0, 2**63).

    Raises:
        ValueError: the seed is out of range.
    """
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be in [0, 2**63), got {seed}")
    return torch.Generator("cpu").manual_seed(seed)


def access_token() -> str:
    """Draws a token that lets a client open a session at a cloud: 32 bytes, url-safe."""
    return secrets.token_urlsafe(32)
