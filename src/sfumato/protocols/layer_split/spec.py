"""All that is public about ``layer-split``: its settings and its messages.

Source: Wang et al. 2025, "PPIDM: Privacy-Preserving Inference for Diffusion Model in the Cloud", IEEE TCSVT,
doi 10.1109/TCSVT.2025.3553514, Algorithm 1 and Section IV-C.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from sfumato.protocols.base import Spec, setting
from sfumato.tensors import FeatureMap
from sfumato.wire.dtypes import WireDtype
from sfumato.wire.messages import Message

Merge = Literal["exact", "paper"]
Offload = Literal["conv", "pointwise_conv", "self_attention", "cross_attention", "norm"]


@dataclass(frozen=True, kw_only=True)
class LayerSplit(Spec):
    """PPIDM: layers of the U-Net run in strips on several clouds, one round a layer."""

    name: ClassVar[str] = "layer-split"

    num_clouds: int = setting(4, "how many clouds take part; at most the rows of the deepest feature map")
    offload: frozenset[Offload] = setting(
        frozenset({"conv", "cross_attention", "norm"}),
        "layers that run on the clouds; the default is what the paper's Tables VIII to X count. conv are kernels "
        "larger than one, pointwise_conv the 1x1 ones; self_attention sends K and V of all rows to every cloud",
    )
    merge: Merge = setting(
        "exact",
        "how group statistics of the strips become the map's: exact, or paper, the mean of the strips' variances, "
        "which loses fidelity",
    )
    cross_attention: Literal["cloud", "client"] = setting(
        "cloud",
        "who computes cross-attention: cloud as in the paper, or client, and the text's K and V never leave",
    )
    wire_dtype: WireDtype = setting("fp32", "number format of strips on the wire; group statistics are always fp32")

    def problems(self) -> list[str]:
        """Something to offload, and known values."""
        found = super().problems()
        if not found and not self.effective_offload:
            found.append("offload must leave something for the clouds: name at least one kind of layer")
        return found

    @property
    def effective_offload(self) -> frozenset[Offload]:
        """``offload`` without cross-attention where the client computes that."""
        return self.offload - {"cross_attention"} if self.cross_attention == "client" else self.offload

    @property
    def hides_rows(self) -> bool:
        """Whether a cloud is kept to its own rows: not when K and V of all rows go to every cloud."""
        return "self_attention" not in self.effective_offload

    @property
    def claim(self) -> str:
        """The bound on rows, and what it costs."""
        if not self.hides_rows:
            return (
                f"Convolutions and norms give each of {self.num_clouds} clouds its strip only, but self_attention "
                "gives every cloud K and V of all rows: nothing about the picture is bounded."
            )
        return (
            f"None of {self.num_clouds} non-colluding clouds receives rows of the latent or of a feature map "
            "outside its strip and the border rows its convolutions need; the price is every layer's input and output "
            "on the wire."
        )

    @property
    def not_hidden_with_seed(self) -> tuple[str, ...]:
        """The seed can be searched for: its noise is in the first strip that a cloud receives."""
        return (
            "The noise follows from a seed, of which torch reads 32 bits: a cloud that tries them all finds the seed "
            "by its own rows, and if it also knows the text it can compute the picture (run without a seed to close "
            "this).",
        )

    def seen_by(self, cloud_index: int) -> str:
        """Its strip, and K and V where they go to every cloud."""
        seen = [f"strip {cloud_index + 1} of {self.num_clouds}"]
        if "cross_attention" in self.effective_offload:
            seen.append("K, V of the text")
        if not self.hides_rows:
            seen.append("K, V of all rows")
        return ", ".join(seen)

    @property
    def not_hidden(self) -> tuple[str, ...]:
        """What a cloud learns all the same."""
        found = []
        if "cross_attention" in self.effective_offload:
            found.append(
                "Every cloud receives K and V of the text tokens; with the public weights they give back the text "
                "embedding, and with it the prompt (cross_attention=client closes this)."
            )
        if not self.hides_rows:
            found.append("Every cloud receives K and V of all rows of the feature maps.")
        found += [
            "Each cloud sees its own strip of the picture being formed.",
            "Deep features of a strip depend on the whole picture; what they reveal of it is not bounded, and not "
            "measured yet.",
            "Two clouds that pool what they saw hold both strips.",
            "Every cloud sees the model, the picture's size, the number of steps and the timing.",
        ]
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class ConvStrip(Message):
    """Client to cloud: the input rows of one convolution for one strip of its output.

    Reveals: the strip's rows of this layer's input with the border rows the kernel needs, and whether the strip lies
    at the top or bottom of the picture.
    """

    topic: ClassVar[str] = "conv"

    path: str
    rows: FeatureMap
    pad_top: int
    pad_bottom: int


@dataclass(frozen=True, kw_only=True)
class PointwiseStrip(ConvStrip):
    """Client to cloud: the input rows of a 1x1 convolution.

    Reveals: the strip's rows of this layer's input.
    """

    topic: ClassVar[str] = "pointwise_conv"


@dataclass(frozen=True, kw_only=True)
class NormStrip(Message):
    """Client to cloud: one strip of a group norm's input.

    Reveals: the strip's rows of this layer's input.
    """

    topic: ClassVar[str] = "norm"

    path: str
    rows: FeatureMap


@dataclass(frozen=True, kw_only=True)
class CrossAttentionStrip(Message):
    """Client to cloud: the queries of one strip, with keys and values of the text.

    Reveals: the strip's queries, and K and V of every text token: with public weights, the text embedding.
    """

    topic: ClassVar[str] = "cross_attention"

    path: str
    query: Float[Tensor, "batch row_tokens inner"]
    key: Float[Tensor, "batch tokens inner"]
    value: Float[Tensor, "batch tokens inner"]


@dataclass(frozen=True, kw_only=True)
class SelfAttentionStrip(CrossAttentionStrip):
    """Client to cloud: the queries of one strip, with keys and values of all rows.

    Reveals: the strip's queries, and K and V of the whole feature map.
    """

    topic: ClassVar[str] = "self_attention"


@dataclass(frozen=True, kw_only=True)
class Strip(Message):
    """Cloud to client: the layer's output rows for the strip it was sent.

    Reveals: to the client, nothing it could not compute.
    """

    rows: Float[Tensor, "..."]


@dataclass(frozen=True, kw_only=True)
class Moments(Message):
    """Cloud to client: mean and variance of each group over the strip it was sent, in fp32.

    Reveals: to the client, nothing it could not compute.
    """

    mean: Float[Tensor, "batch group"]
    variance: Float[Tensor, "batch group"]
