"""All that is public about ``strip-split``: its settings and its messages.

Source: ours. The bound on what a cloud receives is PPIDM's (Wang et al. 2025, doi 10.1109/TCSVT.2025.3553514); borders
and group statistics as in DistriFusion (Li et al. 2024, arXiv 2402.19481), but never stale.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from sfumato.protocols.base import Spec, StepCycle, setting
from sfumato.protocols.strip_split.packing import Wire
from sfumato.tensors import FeatureMap
from sfumato.wire.messages import Message

WARM_UP_STEPS = 4
"""Steps at the start that reuse nothing: the picture still changes much."""

MOST_MEETING = 64
"""Clouds that may meet; the number comes from a client, and each cloud holds a stream to every other."""


@dataclass(frozen=True, kw_only=True)
class StripSplit(Spec):
    """Each cloud runs the U-Net on its tile; the client attends, merges statistics, and passes borders on."""

    name: ClassVar[str] = "strip-split"

    num_clouds: int = setting(4, "how many clouds take part; at most as many tiles as the deepest feature map has rows")
    num_columns: int = setting(
        0,
        "tiles across: 1 cuts strips, 2 with 4 clouds quadrants; 0 takes what has the shortest borders and sends least",
    )
    attention: Literal["fused", "hidden", "qkv"] = setting(
        "fused",
        "what of a transformer block the client computes: fused, all of its attention, in one round a block; hidden, "
        "from the normalised hidden states on; qkv, only the products, for weak clients, which then hold only the "
        "weights for the text's keys and values",
    )
    cross_attention: Literal["client", "cloud"] = setting(
        "client", "who attends to the text: client, and the text never leaves, or cloud, and every cloud reads it"
    )
    wire: Wire = setting(
        "fp16", "number format of borders, hidden states and replies; int8 has a scale for every few channels of a cell"
    )
    borders: Literal["client", "direct"] = setting(
        "client",
        "who passes border cells and group statistics between clouds: client, and clouds never meet, or direct, where "
        "they send them to each other and the client is met only for attention: fewer rounds and bytes for the client, "
        "but that clouds do not pool what they see then rests on their word alone; they must reach each other",
    )
    stem: Literal["client", "clouds"] = setting(
        "client",
        "who computes the layers up to the first attention: client, once for both guidance halves where they are still "
        "the same, in fewer rounds, or clouds, for clients that should hold less; hidden and qkv leave it to the "
        "clouds in any case",
    )
    sampler_borders: Literal["ahead", "asked"] = setting(
        "ahead",
        "how the cells around a tile come to a down- or upsampler that follows attention: ahead, with attention's "
        "answer, or asked, in a round more and fewer bytes up; hidden and qkv always ask",
    )
    attention_every: int = setting(
        1,
        "lossy above 1: after the first 4 steps attention is computed in every so many steps, and what it gave is used "
        "again in between",
    )
    differences: Literal["none", "int4"] = setting(
        "none",
        "int4, lossy: what attention gives travels as its difference to the step before, in 4 bits; needs wire=int8",
    )
    overlap: Literal["none", "halves"] = setting(
        "none",
        "halves keeps the guidance halves apart and two rounds under way, so that the client attends to one half while "
        "the other is on the wire or at the clouds; for links whose round trips or uploads are what a step waits for",
    )
    cfg_clouds: Literal["shared", "separate"] = setting(
        "shared",
        "separate gives the prompt and the negative prompt to different clouds, half of them each, so that no cloud "
        "can subtract one from the other; needs guidance",
    )

    def problems(self) -> list[str]:
        """Known values, and as many clouds as the tiles need."""
        found = super().problems()
        if found:
            return found
        if self.num_columns < 0:
            found.append(f"num_columns must be at least 0, got {self.num_columns}")
        elif self.num_clouds % (self.num_halves * max(self.num_columns, 1)):
            found.append(
                f"num_clouds must be a multiple of {self.num_halves * max(self.num_columns, 1)} "
                f"(num_columns={self.num_columns}, cfg_clouds={self.cfg_clouds}), got {self.num_clouds}"
            )
        if self.attention_every < 1:
            found.append(f"attention_every must be at least 1, got {self.attention_every}")
        if self.differences == "int4" and self.wire != "int8":
            found.append(f"differences=int4 needs wire=int8, got {self.wire}")
        if self.overlap == "halves" and self.cfg_clouds == "separate":
            found.append("overlap=halves needs cfg_clouds=shared: clouds of their own overlap already")
        if self.borders == "direct" and self.num_clouds < 2 * self.num_halves:
            found.append(
                f"borders=direct needs num_clouds of at least {2 * self.num_halves} (cfg_clouds={self.cfg_clouds}), "
                f"got {self.num_clouds}: a cloud that has the whole picture meets nobody"
            )
        if self.borders == "direct" and self.num_clouds > MOST_MEETING:
            found.append(
                f"borders=direct takes at most {MOST_MEETING} clouds, got {self.num_clouds}: every two hold a stream"
            )
        return found

    def reuses_attention(self, step: int) -> bool:
        """Whether a step, counted from 0, takes attention's results from an earlier one."""
        return step >= WARM_UP_STEPS and (step - WARM_UP_STEPS) % self.attention_every != 0

    @property
    def step_cycle(self) -> StepCycle:
        """After the warm-up a step that attends, and those that use its results again."""
        is_alike = self.attention_every == 1
        return StepCycle() if is_alike else StepCycle(before=WARM_UP_STEPS, length=self.attention_every)

    @property
    def num_lanes(self) -> int:
        """Computations under way at once on a cloud."""
        return 2 if self.overlap == "halves" else 1

    @property
    def stem_is_client(self) -> bool:
        """Whether the client computes the layers up to the first attention."""
        return self.stem == "client" and self.attention == "fused"

    @property
    def num_halves(self) -> int:
        """Groups of clouds that each see one half of the guidance: 1 or 2."""
        return 2 if self.cfg_clouds == "separate" else 1

    @property
    def num_tiles(self) -> int:
        """Pieces that the picture is cut into."""
        return self.num_clouds // self.num_halves

    def peers_of(self, cloud_index: int) -> tuple[int, ...]:
        """With ``borders=direct`` the clouds that have the other tiles of the same guidance half."""
        if self.borders == "client":
            return ()
        first = cloud_index - cloud_index % self.num_tiles
        return tuple(cloud for cloud in range(first, first + self.num_tiles) if cloud != cloud_index)

    @property
    def claim(self) -> str:
        """The bound on cells, and what it costs."""
        text = "" if self.cross_attention == "cloud" else "the text's token embeddings, or "
        return (
            f"None of {self.num_clouds} non-colluding clouds receives {text}cells of the latent or of a feature map "
            "outside its tile and the line of cells around it; the price is that the client attends, and "
            + (
                "passes borders on."
                if self.borders == "client"
                else "that clouds are connected to each other: that they do not pool what they see rests on their word."
            )
        )

    @property
    def not_hidden_with_seed(self) -> tuple[str, ...]:
        """The seed can be searched for: its noise is in the first tile that a cloud receives."""
        return (
            "The noise follows from a seed, of which torch reads 32 bits: a cloud that tries them all finds the seed "
            "by its own cells, and if it also knows the text it can compute the picture (run without a seed to close "
            "this).",
        )

    def seen_by(self, cloud_index: int) -> str:
        """Its tile, and the text where it is told."""
        seen = f"tile {cloud_index % self.num_tiles + 1} of {self.num_tiles}"
        if self.num_halves == 2:
            seen += ", without the prompt" if cloud_index < self.num_tiles else ", with the prompt"
        seen += ", the text" if self.cross_attention == "cloud" else ""
        return seen + (", other clouds' addresses and statistics" if self.borders == "direct" else "")

    @property
    def not_hidden(self) -> tuple[str, ...]:
        """What a cloud learns all the same."""
        found = []
        if self.cross_attention == "cloud":
            found.append("Every cloud receives the text embedding, and with it the prompt (cross_attention=client).")
        elif self.cfg_clouds == "shared":
            found.append(
                "A cloud can test a guessed prompt: what comes back from attention with and without the prompt differs "
                "by the text's part (cfg_clouds=separate makes this harder)."
            )
        else:
            found.append("A cloud can test a guessed prompt against what comes back from attention.")
        found += [
            "For SDXL the pooled text enters every residual block with the time, and reaches every cloud.",
            "Each cloud sees its own tile of the picture being formed.",
            "Features of a tile depend on the whole picture, and group statistics are the whole picture's; what they "
            "reveal of it is not bounded, and not measured yet.",
            "Two clouds that pool what they saw hold both tiles.",
            *(_OF_DIRECT if self.borders == "direct" else ()),
            "Every cloud sees the model, the picture's size, the number of steps and the timing.",
        ]
        return tuple(found)


_OF_DIRECT = (
    "Clouds know each other's addresses and hold authenticated connections to one another: that they do not pool what "
    "they see rests on their word alone (borders=client keeps them apart).",
    "Each cloud receives every other tile's own group statistics, not only those of the whole map (borders=client).",
)


@dataclass(frozen=True, kw_only=True)
class Begin(Message):
    """Client to cloud: start the U-Net on a tile.

    Reveals: the tile of the noisy latent with the line of cells around it, the timestep and the picture's size. With
    ``stem=client`` what :class:`Surroundings` and :class:`Attended` reveal at the first places. With
    ``cross_attention=cloud`` the text embedding, and for SDXL the pooled text and sizes, once a run.
    """

    topic: ClassVar[str] = "latent"

    step: int
    timestep: float
    height: int
    width: int
    lane: int
    """Which of the computations under way this is: with ``overlap=halves`` 1 for the prompt's half, else 0."""
    repeats: int
    """Rows of the U-Net's batch for each of the latent's: 2 where both guidance halves run on this cloud."""
    latent: FeatureMap
    statistics: Float[Tensor, " statistics"] | None
    """Of the whole map at the places that the client computed itself, those with a norm, one after the other; fp32."""
    values: Tensor | None
    """(value,): the cells of its answers at those places, one after the other."""
    scales: Float[Tensor, " scales"] | None
    """Of each of them scales and means, as far as they have any, one after the other."""
    prompt_embeds: Float[Tensor, "rows token text_width"] | None
    pooled: Float[Tensor, "rows pooled_width"] | None
    time_ids: Float[Tensor, "rows six"] | None


@dataclass(frozen=True, kw_only=True)
class Meeting(Message):
    """One cloud's part in a place where tiles meet, or the client's answer to it.

    Reveals: said by each of the five kinds below; this one is never sent.
    """

    step: int
    lane: int
    round: int
    """Of the lane's step; what clouds send each other is counted by itself."""
    path: str
    """The layer of the U-Net at which the cloud waits."""
    statistics: Float[Tensor, "two rows group"] | None
    """Mean and variance of each group: of the sender's tile, or from the client of the whole map; always fp32."""
    values: Tensor
    """(rows, channel, cell), cells in row-major order."""
    scales: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Border(Meeting):
    """Cloud to client: the cells of its tile that others need, before a convolution.

    Reveals: to the client, nothing it could not compute.
    """


@dataclass(frozen=True, kw_only=True)
class Edge(Meeting):
    """Cloud to cloud, with ``borders=direct``: the sender's cells that lie around the receiver's tile, and statistics.

    Reveals: to the cloud that it is sent to, the sender's cells in the line around the receiver's tile at this layer,
    as :class:`Surroundings` would; mean and variance of each group over the sender's tile, which the client never
    passes on.
    """

    topic: ClassVar[str] = "edge"


@dataclass(frozen=True, kw_only=True)
class Hidden(Meeting):
    """Cloud to client: its tile on the way into attention.

    Reveals: to the client, nothing it could not compute.
    """


@dataclass(frozen=True, kw_only=True)
class Surroundings(Meeting):
    """Client to cloud: the cells around its tile, and group statistics of the whole map.

    Reveals: one line of cells around the tile at this layer, and mean and variance of each group over the whole map.
    """

    topic: ClassVar[str] = "halo"


@dataclass(frozen=True, kw_only=True)
class Attended(Meeting):
    """Client to cloud: what attention adds to its tile (fused), or gathers for it (hidden, qkv).

    Before a sampler, with ``sampler_borders=ahead``, ``values`` has the cells around the tile after its own.

    Reveals: at the tile's own cells, a function of the whole picture and, where the client attends to the text, of the
    text; mean and variance of each group over the whole map. Before a sampler the same for the line of cells around
    the tile, and those cells.
    """

    topic: ClassVar[str] = "attention"

    means: Float[Tensor, "answered_rows channel"] | None
    """Of ``values`` over their cells, taken off there; none with ``wire=fp32``."""
    around: Tensor | None
    """(rows, channel, cell): the transformer's input at the cells around the tile and, in a transformer of several
    blocks, below it the hidden state before the last one."""
    around_scales: Tensor | None


@dataclass(frozen=True, kw_only=True)
class TilePrediction(Message):
    """Cloud to client: the U-Net's output on its tile.

    Reveals: to the client, nothing it could not compute.
    """

    step: int
    lane: int
    between_bytes: int
    """That this cloud sent to others since its last prediction; 0 where clouds do not meet."""
    prediction: FeatureMap
