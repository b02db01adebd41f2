"""What the server's steps cost, counted on the meta device: every product and convolution that is dispatched."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from sfumato.models.denoiser import meta_conditioning
from sfumato.models.layers import counted_flops
from sfumato.protocols.prompt_set.acceleration import Acceleration, Work
from sfumato.protocols.prompt_set.server_stage import CandidateDenoiser

Counter = Callable[[], AbstractContextManager[Callable[[], int]]]


@dataclass(frozen=True, kw_only=True)
class StepFlops:
    """FLOPs of one step, all candidates and guidance halves together; a multiply-add is two."""

    total: int
    value_products: int
    """Of these, attention's products of map and V."""

    @property
    def as_published(self) -> int:
        """What the tables of ObCLIP count, as far as they show: one of attention's two products is not in them.

        Their cost of a plain step is met to 0.2 % without it, and missed by 6 to 8 % with it. That the product of map
        and V is the one left out is read from what they say batch reuse saves, which is mostly the other product.
        """
        return self.total - self.value_products


def server_flops(
    unet: Any,
    acceleration: Acceleration,
    *,
    num_candidates: int,
    latent_size: tuple[int, int],
    num_tokens: int = 77,
    is_guided: bool = True,
    counter: Counter = counted_flops,
) -> tuple[StepFlops, ...]:
    """Counts each of the server's steps.

    Args:
        unet: on the meta device.
        acceleration: the server's.
        num_candidates: prompts in the set.
        latent_size: rows and columns.
        num_tokens: to which every prompt is padded.
        is_guided: whether the negative prompt's half is computed too.
        counter: how operations are counted.
    """
    denoiser = CandidateDenoiser(unet, acceleration)
    conditioning = meta_conditioning(unet.config, batch=num_candidates * (1 + is_guided), num_tokens=num_tokens)
    latents = torch.empty(num_candidates, unet.config.in_channels, *latent_size, device="meta")
    known: dict[tuple[Work, bool], StepFlops] = {}
    steps = []
    for index in range(acceleration.num_steps):
        # Steps of the same kind cost the same; only at the first one is the negative prompt's half a single row.
        kind = (acceleration.at(index), index == 0)
        if kind not in known:
            with torch.no_grad(), _ValueProducts() as products, counter() as flops:
                denoiser.begin(index)
                denoiser(latents, torch.tensor(1), conditioning)
            known[kind] = StepFlops(total=flops(), value_products=products.flops)
        steps.append(known[kind])
    return tuple(steps)


class _ValueProducts(TorchFunctionMode):
    """Counts what attention spends on map times V."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            query, _, value = args[:3]
            batch, heads, tokens = query.shape[:3]
            self.flops += 2 * batch * heads * tokens * value.shape[2] * value.shape[3]
        return func(*args, **(kwargs or {}))


def plain_step_flops(unet: nn.Module, latent_size: tuple[int, int], num_tokens: int = 77) -> StepFlops:
    """One step of one candidate without guidance: the unit in which the paper's costs are given."""
    plain = Acceleration.none(1)
    (step,) = server_flops(
        unet, plain, num_candidates=1, latent_size=latent_size, num_tokens=num_tokens, is_guided=False
    )
    return step
