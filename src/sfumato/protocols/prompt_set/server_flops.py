"""What the server's steps cost, counted on the meta device: every product and convolution that is dispatched."""

import math
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
    map_products: int
    """Of these, attention's products of Q and K."""
    value_products: int
    """Of these, attention's products of map and V."""
    reuses_maps: bool

    @property
    def as_published(self) -> int:
        """What the tables of ObCLIP count, as far as they show.

        One of attention's two products is not in them, and at steps with map reuse neither is: so read, Table 7 and the
        cost of a plain run are met to 0.2 %. With both products everywhere they are missed by 4 to 9 %.
        """
        return self.total - self.value_products - (self.map_products if self.reuses_maps else 0)


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
        kind = (acceleration.at(index), is_guided and index == 0)
        if kind not in known:
            with torch.no_grad(), _AttentionProducts() as products, counter() as flops:
                denoiser.begin(index)
                denoiser(latents, torch.tensor(1), conditioning)
            known[kind] = StepFlops(
                total=flops(),
                map_products=products.map_flops,
                value_products=products.value_flops,
                reuses_maps=kind[0].reuses_maps,
            )
        steps.append(known[kind])
    return tuple(steps)


class _AttentionProducts(TorchFunctionMode):
    """Counts what attention spends on Q times K, and on map times V."""

    def __init__(self) -> None:
        super().__init__()
        self.map_flops = self.value_flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Looks at each attention call and lets everything pass."""
        if func is F.scaled_dot_product_attention:
            query, key, value = args[:3]
            entries = 2 * math.prod(query.shape[:3]) * key.shape[2]
            self.map_flops += entries * query.shape[3]
            self.value_flops += entries * value.shape[3]
        return func(*args, **(kwargs or {}))


def plain_step_flops(unet: nn.Module, latent_size: tuple[int, int], num_tokens: int = 77) -> StepFlops:
    """One step of one candidate without guidance: the unit in which the paper's costs are given."""
    plain = Acceleration.none(1)
    (step,) = server_flops(
        unet, plain, num_candidates=1, latent_size=latent_size, num_tokens=num_tokens, is_guided=False
    )
    return step
