"""When the server computes what: the schedule of ObCLIP's three accelerations, and where a step stands in it.

The accelerations themselves are ``map_reuse.py``, ``attention_cache.py`` and ``block_skip.py``. Each replaces forwards
in a copy of the U-Net that shares its weights, alone or with the others, and reads a :class:`Now`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

Groups = tuple[int, ...]
"""Rows of the U-Net's batch that belong together: ``(N,)`` candidates, or with guidance the negative prompt's half
first, ``(N, N)``; at the first step that half is one row, ``(1, N)``. Each group has a pivot, its first row."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the U-Net does at one step."""

    reuses_maps: bool = False
    """Attention maps are the pivot's."""
    uses_kept_attention: bool = False
    """Attention gives again what it gave when it was last computed."""
    keeps_attention: bool = False
    """What attention gives is kept for the next step."""
    uses_kept_blocks: bool = False
    """Only the up path runs, on the kept output of the middle and the kept residuals of the down path."""
    keeps_blocks: bool = False
    """Outputs of the middle and of the down path are kept for the next step."""


@dataclass(frozen=True, kw_only=True)
class Acceleration:
    """The server's steps: how many, and from which on it saves what.

    Step i computes everything while ``i < cache_from``, uses kept attention from there on, and skips the down path
    and the middle from ``skip_from`` on. ``cache_from=skip_from=num_steps`` without ``reuse_maps`` saves nothing.

    Source: ObCLIP, NeurIPS 2025, arXiv 2510.04153: k, r and s. It does not say whether attention is computed afresh
    between, or at skipped steps; its Table 7 fits neither, which is the default here.
    """

    num_steps: int
    """k: the server's steps, the first ones of the run."""
    cache_from: int
    """r: first step with kept attention."""
    skip_from: int
    """s: first step without down path and middle."""
    reuse_maps: bool = True
    """Whether steps below ``cache_from`` use the pivot's attention maps for all candidates."""
    refresh_every: int | None = None
    """Attention is computed afresh every so many steps, counted from step ``cache_from - 1``; None: never again."""
    cache_at_skipped_steps: bool = True
    """Whether the up path of skipped steps uses kept attention too."""

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise ValueError("server steps: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        found = []
        if self.num_steps < 1:
            found.append(f"num_steps (k) must be at least 1, got {self.num_steps}")
        if self.cache_from < 1:
            found.append(
                f"cache_from (r) must be at least 1, got {self.cache_from}: a step must be computed to be kept"
            )
        if not self.cache_from <= self.skip_from <= self.num_steps:
            found.append(
                "cache_from (r) must not exceed skip_from (s), nor skip_from num_steps (k), "
                f"got r={self.cache_from}, s={self.skip_from}, k={self.num_steps}"
            )
        if self.refresh_every is not None and self.refresh_every < 1:
            found.append(f"refresh_every must be at least 1, or None for never, got {self.refresh_every}")
        return found

    @classmethod
    def none(cls, num_steps: int) -> "Acceleration":
        """Steps that are computed in full, each candidate on its own."""
        return cls(num_steps=num_steps, cache_from=num_steps, skip_from=num_steps, reuse_maps=False)

    def require_within(self, num_inference_steps: int) -> None:
        """Refuses a schedule that leaves the client's model nothing to do.

        Raises:
            ValueError: the server's steps are not fewer than the run's.
        """
        if self.num_steps >= num_inference_steps:
            raise ValueError(
                f"the server's steps (k={self.num_steps}) must be fewer than its schedule's ({num_inference_steps}): "
                "the client's model finishes the picture; lower k or make more steps"
            )

    def at(self, index: int) -> Work:
        """What is done at a step.

        Raises:
            ValueError: the server runs no such step.
        """
        if not 0 <= index < self.num_steps:
            raise ValueError(f"the server runs steps 0 to {self.num_steps - 1}, not step {index}")
        is_last = index == self.num_steps - 1
        return Work(
            reuses_maps=self.reuse_maps and index < self.cache_from,
            uses_kept_attention=self._is_cached(index),
            keeps_attention=not is_last and not self._is_cached(index) and self._is_cached(index + 1),
            uses_kept_blocks=index >= self.skip_from,
            keeps_blocks=not is_last and index == self.skip_from - 1,
        )

    def _is_cached(self, index: int) -> bool:
        if index < self.cache_from or (index >= self.skip_from and not self.cache_at_skipped_steps):
            return False
        return self.refresh_every is None or (index - self.cache_from + 1) % self.refresh_every != 0


PUBLISHED_INFERENCE_STEPS = 25
"""Of the paper's two settings, (5, 3, 3) and (10, 4, 6): DPM-Solver++ steps of which the server makes the first k."""


@dataclass
class Now:
    """The step under way: written by the loop, read by the replaced forwards."""

    groups: Groups = (1,)
    work: Work = field(default_factory=Work)


def spread(rows: Tensor, kept: Groups, wanted: Groups) -> Tensor:
    """Repeats groups that were computed as one row, so that they have as many rows as are wanted."""
    if kept == wanted:
        return rows
    parts = [p.expand(size, *p.shape[1:]) for p, size in zip(rows.split(kept), wanted, strict=True)]
    return torch.cat(parts)
