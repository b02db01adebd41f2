"""Every source of randomness, by purpose.

Secrets that protect the client come from the operating system. Seeded generators fix pictures and tests and say
so in their name; no mask, key or token is ever drawn from one.
"""

import math
import os
import secrets

import torch
from jaxtyping import Float
from torch import Tensor


def fresh_seed() -> int:
    """Draws a seed for one picture from the operating system, in [0, 2**31)."""
    return secrets.randbelow(2**31)


def unsearchable_noise(shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """Draws unit Gaussian noise from the operating system, 52 bits a value, in fp32.

    A generator of torch reads 32 bits of its seed: whoever holds a few values of its noise finds the seed, and with
    it all of the noise, by trying. Nothing finds these values from others.
    """
    return unsearchable_doubles(shape).float()


def unsearchable_doubles(shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """The same in fp64: noise that has to be finer than what it hides."""
    bits = torch.frombuffer(bytearray(os.urandom(8 * math.prod(shape))), dtype=torch.int64)
    uniform = ((bits >> 12).double() + 2**51 + 0.5) / 2**52
    return (math.sqrt(2) * torch.erfinv(2 * uniform - 1)).reshape(shape)


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


def unguessable_name() -> str:
    """Draws 128 bits, in hexadecimal: for what is found by its name, and by nobody who was not told it."""
    return secrets.token_hex(16)


def access_token() -> str:
    """Draws a token that lets a client open a session at a cloud: 32 bytes, url-safe."""
    return secrets.token_urlsafe(32)
