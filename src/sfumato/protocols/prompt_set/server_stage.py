"""The server's steps: every candidate prompt from one shared noise."""

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.layers import require_plain_attention, sharing_copy
from sfumato.models.sampling import Sampling, sample
from sfumato.protocols.prompt_set.acceleration import Acceleration, Now, spread
from sfumato.protocols.prompt_set.attention_cache import cache_attention
from sfumato.protocols.prompt_set.block_skip import skip_blocks
from sfumato.protocols.prompt_set.map_reuse import reuse_maps
from sfumato.randomness import fresh_seed, seeded_generator
from sfumato.tensors import GuidedPrediction, Latent


@dataclass(frozen=True, kw_only=True)
class CandidateRun:
    """What the server computes. None of it depends on which candidate is the true prompt."""

    scheduler: Any
    """The server's; its timesteps are set when the run starts, and it is where the run stopped afterwards."""
    noise: Latent
    """Unit Gaussian, one row, shared by all candidates."""
    prompts: Conditioning
    """One row a candidate."""
    negative: Conditioning | None
    """One row, shared by all candidates; None without guidance."""
    num_inference_steps: int
    """Of the server's schedule, of which it runs the first ``acceleration.num_steps``."""
    guidance_scale: float
    acceleration: Acceleration
    generator: torch.Generator | None = None
    """For schedulers that add noise on the way: every candidate gets the same. It is copied, not advanced."""

    def __post_init__(self) -> None:
        self.acceleration.require_within(self.num_inference_steps)
        if len(self.noise) != 1:
            raise ValueError(f"noise must be one row, shared by all candidates, got {len(self.noise)}")
        if self.negative is not None and self.negative.batch != 1:
            raise ValueError(f"negative must be one row, shared by all candidates, got {self.negative.batch}")


class CandidateDenoiser:
    """A U-Net on a batch of candidates, step after step, with what may be saved on the way.

    It is a :data:`~sfumato.models.denoiser.Denoiser` for one run: latents that are equal in the first step, and
    negative prompts that are equal throughout.
    """

    def __init__(self, unet: nn.Module, acceleration: Acceleration):
        """Copies the module tree; weights are shared, and the caller's U-Net stays as it was.

        Raises:
            Unsupported: attention that cannot be taken apart.
        """
        require_plain_attention(unet, "prompt-set")
        self._unet = sharing_copy(unet)
        self._acceleration = acceleration
        self._now = Now()
        self._index = 0
        reuse_maps(self._unet, self._now)
        cache_attention(self._unet, self._now)
        skip_blocks(self._unet, self._now)

    def begin(self, index: int) -> None:
        """Says which step comes next; without a word it is the one after the last."""
        self._index = index

    @torch.no_grad()
    def __call__(self, latents: Latent, timestep: Tensor, conditioning: Conditioning) -> GuidedPrediction:
        """Predicts for all candidates at the next step.

        Args:
            latents: scaled, one row a candidate.
            timestep: a scalar.
            conditioning: one row a candidate, or twice as many, the negative prompt's half first.
        """
        num, is_guided = len(latents), conditioning.batch == 2 * len(latents)
        wanted = (num, num) if is_guided else (num,)
        self._now.work, self._now.groups = self._acceleration.at(self._index), wanted
        if is_guided and self._index == 0:
            # One noise and one negative prompt: all rows of that half are the same.
            self._now.groups = (1, num)
            latents, conditioning = torch.cat([latents[:1], latents]), conditioning.rows(slice(num - 1, None))
        prediction = predict(self._unet, latents, timestep, conditioning)
        self._index += 1
        return spread(prediction, self._now.groups, wanted)


def run_candidates(unet: nn.Module, run: CandidateRun) -> Latent:
    """Runs the server's steps and returns one latent a candidate, in the scheduler's own scale.

    Run by: worker.
    """
    num = run.prompts.batch
    sampling = Sampling(
        scheduler=run.scheduler,
        noise=run.noise.repeat(num, 1, 1, 1),
        conditioning=run.prompts if run.negative is None else joined(repeated(run.negative, num), run.prompts),
        num_inference_steps=run.num_inference_steps,
        guidance_scale=run.guidance_scale,
        generator=_same_generators(run.generator, num),
    )
    denoiser = CandidateDenoiser(unet, run.acceleration)
    latents = sampling.noise
    for step in islice(sample(denoiser, sampling), run.acceleration.num_steps):
        latents = step.latents
    return latents


def joined(first: Conditioning, second: Conditioning) -> Conditioning:
    """The rows of both."""
    return _mapped(first, lambda a, b: torch.cat([a, b]), second)


def repeated(conditioning: Conditioning, num: int) -> Conditioning:
    """One row as many."""
    return _mapped(conditioning, lambda a, _: a.expand(num, *a.shape[1:]), conditioning)


def _mapped(one: Conditioning, change: Any, other: Conditioning) -> Conditioning:
    names = ("prompt_embeds", "pooled", "time_ids")
    changes = {n: change(getattr(one, n), getattr(other, n)) for n in names if getattr(one, n) is not None}
    return replace(one, **changes)


def _same_generators(generator: torch.Generator | None, num: int) -> list[torch.Generator]:
    """Generators that all draw the same, from where the given one stands."""
    given = generator or seeded_generator(fresh_seed())
    copies = [torch.Generator(given.device) for _ in range(num)]
    for copied in copies:
        copied.set_state(given.get_state())
    return copies
