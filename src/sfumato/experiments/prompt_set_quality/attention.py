"""Seconds of one attention layer with its own maps and with the pivot's: what map reuse saves beside fused attention.

A fused kernel never writes a map down. It wants values as wide as keys; with the pivot's map the values of all
candidates lie side by side and are wider, so another kernel may answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from time import perf_counter
from typing import Any, Final

import polars as pl
import torch
from torch import nn

from sfumato.experiments.prompt_set_quality.lines import Seconds, seconds_of
from sfumato.models.denoiser import meta_conditioning, predict
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import meta_unet
from sfumato.protocols.prompt_set.map_reuse import attend_with_pivots

_KERNELS: Final = {0: "explicit map", 1: "fused", 2: "fused", 3: "fused"}
_NO_WARM_UP: Final = 0.5
"""Seconds."""
_CALLS: Final = 5
_MOST_ENTRIES: Final = 8 * 4096 * 4096 * 6
"""Of all maps of one call: above it a CPU takes minutes."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One kind of attention layer in a model."""

    tokens: int
    heads: int
    width: int
    """Of all heads."""
    context_tokens: int
    context_width: int | None
    """None for self-attention."""


@dataclass(frozen=True, kw_only=True)
class AttentionRow:
    """One layer, once with its own maps and once with the pivot's."""

    case: str
    architecture: str
    num_candidates: int
    round: int
    tokens: int
    context_tokens: int
    heads: int
    head_width: int
    own_kernel: str
    pivot_kernel: str
    own_seconds: float
    pivot_seconds: float
    threads: int
    sfumato: str
    commit: str | None
    torch: str


@dataclass(frozen=True, kw_only=True)
class Layers:
    """All kinds of layers of one model, for one size of the candidate set, in one round."""

    model: ModelFolder
    latent_size: tuple[int, int]
    num_candidates: int
    round: int

    @property
    def shapes(self) -> list[Shape]:
        """Those that are timed; maps of some would take minutes."""
        shapes = attention_shapes(self.model, self.latent_size)
        return [s for s in shapes if s.heads * s.tokens * s.context_tokens * self.num_candidates <= _MOST_ENTRIES]

    @property
    def cases(self) -> list[str]:
        """Names of the rows."""
        return [self.case(shape) for shape in self.shapes]

    def case(self, shape: Shape) -> str:
        """Names one row."""
        return f"{self.model.name} {shape.tokens}x{shape.context_tokens} {self.num_candidates} {self.round}"


@lru_cache
def attention_shapes(model: ModelFolder, latent_size: tuple[int, int]) -> tuple[Shape, ...]:
    """The kinds of attention layers of a model, the largest first."""
    from diffusers.models.attention_processor import Attention

    unet: Any = meta_unet(model)
    num_tokens = int(model.config("text_encoder")["max_position_embeddings"])
    found: set[tuple[Any, ...]] = set()

    def look(layer: Any, args: Any, kwargs: Any) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        context = kwargs.get("encoder_hidden_states")
        seen = hidden if context is None else context
        width = None if context is None else int(context.shape[2])
        found.add((hidden.shape[1], layer.heads, hidden.shape[2], seen.shape[1], width))

    for layer in unet.modules():
        if isinstance(layer, Attention):
            layer.register_forward_pre_hook(look, with_kwargs=True)
    with torch.no_grad():
        latent = torch.empty(1, unet.config.in_channels, *latent_size, device="meta")
        predict(unet, latent, torch.tensor(1.0), meta_conditioning(unet.config, batch=1, num_tokens=num_tokens))
    ordered = sorted(found, key=lambda s: (s[0], s[3]), reverse=True)
    return tuple(Shape(tokens=t, heads=h, width=w, context_tokens=c, context_width=cw) for t, h, w, c, cw in ordered)


def time_attention(work: Layers, version: str, commit: str | None) -> list[AttentionRow]:
    """Times every kind of layer, with random weights."""
    return [_timed(work, shape, version, commit) for shape in work.shapes]


@torch.no_grad()
def _timed(work: Layers, shape: Shape, version: str, commit: str | None) -> AttentionRow:
    from diffusers.models.attention_processor import Attention

    num = work.num_candidates
    layer: nn.Module = Attention(
        shape.width,
        cross_attention_dim=shape.context_width,
        heads=shape.heads,
        dim_head=shape.width // shape.heads,
    )
    hidden = torch.randn(num, shape.tokens, shape.width)
    text = None if shape.context_width is None else torch.randn(num, shape.context_tokens, shape.context_width)
    context = hidden if text is None else text
    own = _seconds(lambda: layer(hidden, encoder_hidden_states=text))
    pivot = _seconds(lambda: attend_with_pivots(layer, hidden, context, (num,)))
    return AttentionRow(
        case=work.case(shape),
        architecture=work.model.name,
        num_candidates=num,
        round=work.round,
        tokens=shape.tokens,
        context_tokens=shape.context_tokens,
        heads=shape.heads,
        head_width=shape.width // shape.heads,
        own_kernel=_kernel(shape, 1),
        pivot_kernel=_kernel(shape, num),
        own_seconds=own,
        pivot_seconds=pivot,
        threads=torch.get_num_threads(),
        sfumato=version,
        commit=commit,
        torch=torch.__version__,
    )


def _seconds(call: Callable[[], Any]) -> float:
    """Of one call; the middle of several, after one that warms up, where that takes no long time."""
    first = _once(call)
    return first if first > _NO_WARM_UP else median(_once(call) for _ in range(_CALLS))


def _once(call: Callable[[], Any]) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started


def _kernel(shape: Shape, candidates_side_by_side: int) -> str:
    """Which of torch's kernels answers, by its own choice."""
    width = shape.width // shape.heads
    query = torch.empty(1, shape.heads, shape.tokens, width)
    key = torch.empty(1, shape.heads, shape.context_tokens, width)
    value = torch.empty(1, shape.heads, shape.context_tokens, width * candidates_side_by_side)
    return _KERNELS.get(int(torch._fused_sdp_choice(query, key, value)), "other")


@dataclass(frozen=True, kw_only=True)
class AttentionLine:
    """One kind of layer at one size of the candidate set, all rounds together."""

    architecture: str
    num_candidates: int
    tokens: int
    context_tokens: int
    heads: int
    head_width: int
    own_kernel: str
    pivot_kernel: str
    own: Seconds
    pivot: Seconds
    ratio: Seconds


_KIND: Final = (
    *("architecture", "tokens", "context_tokens", "heads", "head_width", "num_candidates"),
    *("own_kernel", "pivot_kernel"),
)


def attention_lines(rows: pl.DataFrame) -> list[AttentionLine]:
    """A line a kind of layer, the largest of each model first."""
    lines = []
    order = ["architecture", "tokens", "context_tokens", "num_candidates"]
    ordered = rows.sort(order, descending=[False, True, True, False])
    for kind, some in ordered.group_by(_KIND, maintain_order=True):
        own, pivot = some["own_seconds"].to_list(), some["pivot_seconds"].to_list()
        found = [seconds_of(own), seconds_of(pivot), seconds_of([p / o for o, p in zip(own, pivot, strict=True)])]
        named: dict[str, Any] = dict(zip(_KIND, kind, strict=True))
        lines.append(AttentionLine(**named, **dict(zip(("own", "pivot", "ratio"), found, strict=True))))  # type: ignore[arg-type]
    return lines
