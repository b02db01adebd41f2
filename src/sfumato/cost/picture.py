"""The cost of a whole picture under ``prompt-set``, which has no step that repeats: counted without weights.

Source: for the published figures, ObCLIP, NeurIPS 2025, arXiv 2510.04153, Table 7.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch

from sfumato.cost.dry_run import COUNTED_FINGERPRINT
from sfumato.cost.link import Link
from sfumato.cost.result import FLOAT_BYTES
from sfumato.cost.shapes import ShapesOnly
from sfumato.cost.speeds import UNKNOWN, Speeds, computing_seconds
from sfumato.models.denoiser import meta_conditioning, predict
from sfumato.models.folder import ModelFolder
from sfumato.models.skeleton import Skeleton, whole_skeleton
from sfumato.protocols.prompt_set.acceleration import Acceleration
from sfumato.protocols.prompt_set.pairing import Pairing, pairing_of
from sfumato.protocols.prompt_set.server_flops import StepFlops, server_flops
from sfumato.protocols.prompt_set.spec import CandidateLatents, Candidates, PromptSet
from sfumato.version import VERSION
from sfumato.wire.codec import encoded_size
from sfumato.wire.dtypes import WIRE_DTYPES
from sfumato.wire.messages import Hello, Message, Welcome

PROMPT_CHARACTERS = 60
"""Length of every candidate, where none are given; the latents are what takes room."""

TABLE_7 = MappingProxyType(
    {
        ("sd15", "5-3-3"): {4: 11.13, 6: 16.64},
        ("sd15", "10-4-6"): {4: 21.86, 6: 32.72},
        ("sdxl", "5-3-3"): {4: 86.32, 6: 128.38},
        ("sdxl", "10-4-6"): {4: 165.34, 6: 246.55},
    }
)
"""TFLOPs of the server with cache and reuse, by number of candidates. The paper's SD 1.4 has the U-Net of SD 1.5."""


@dataclass(frozen=True, kw_only=True)
class PictureCost:
    """One picture, from the handshake to the decoded pixels."""

    model: str
    device_model: str | None
    """None where the client's U-Net is not counted."""
    spec: dict[str, Any]
    candidates: int
    steps: int
    server_steps: int
    client_steps: int
    height: int
    width: int
    link: str
    speeds: Speeds
    rounds: int
    sent_bytes: int
    received_bytes: int
    server_flops: int
    """Of the U-Net, all that is dispatched."""
    server_text_flops: int
    client_flops: int | None
    """Of the device model's U-Net."""
    client_text_and_decoder_flops: int
    client_weight_bytes: int | None
    alone_flops: int
    """Of the server's U-Net if it made the one picture, without privacy."""
    published_way_flops: int
    """The server's for one guidance half, counted as the paper does."""
    published_flops: float | None
    """The paper's own cell; None where it has none."""
    seconds: float
    """Modelled."""

    @property
    def times_alone(self) -> float:
        """The server's work, as a multiple of making one picture without privacy."""
        return self.server_flops / self.alone_flops

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON object."""
        out = asdict(self) | {"protocol": PromptSet.name, "times_alone": self.times_alone}
        return {key: value for key, value in out.items() if value is not None}


def count_picture(
    model: ModelFolder,
    spec: PromptSet,
    link: Link,
    *,
    num_candidates: int,
    num_inference_steps: int,
    device_model: ModelFolder | None = None,
    scheduler: str = "dpm++",
    height: int | None = None,
    width: int | None = None,
    guided: bool = True,
    speeds: Speeds = UNKNOWN,
    prompts: Sequence[str] = (),
    negative: str = "",
) -> PictureCost:
    """Counts one picture.

    Args:
        model: the server's; its configurations are enough.
        spec: the protocol.
        link: the client's.
        num_candidates: prompts in the set.
        num_inference_steps: of the client's schedule.
        device_model: the client's; without, its U-Net is not counted.
        scheduler: the client's.
        height, width: of the picture in pixels; None for the model's own size.
        guided: whether the negative prompt counts.
        speeds: at which both sides compute.
        prompts: the candidates, for their bytes; by default of `PROMPT_CHARACTERS` each.
        negative: prompt.

    Raises:
        ValueError: the picture's size does not fit the model, or the models each other.
    """
    server, device = whole_skeleton(model), whole_skeleton(device_model or model)
    size = server.latent_size(height, width)
    pairing = pairing_of(
        spec,
        model,
        device_model or model,
        scheduler=scheduler,
        num_inference_steps=num_inference_steps,
        latent_size=size,
    )
    texts = tuple(prompts) or ("x" * PROMPT_CHARACTERS,) * num_candidates
    scale = server.pixels_per_latent_row
    sent, received = _bytes(server, spec, pairing, texts, negative, guided, size, scale)
    half, both = (
        _server_steps(server, spec.acceleration, len(texts), size, is_guided) for is_guided in (False, guided)
    )
    (alone,) = _server_steps(server, Acceleration.none(1), 1, size, False)
    own = None
    if device_model:
        own = _pass_flops(device, size, guided) * (num_inference_steps - pairing.first_step)
    once = device.text_flops(1 + guided) + device.decoder_flops(*size)
    work = sum(step.total for step in both)
    reading = server.text_flops(len(texts) + 2 * guided)
    seconds = [
        2 * link.rtt_milliseconds / 1e3,
        link.up_seconds(sent),
        link.down_seconds(received),
        computing_seconds(work + reading, speeds.cloud_gflops),
        computing_seconds((own or 0) + once, speeds.client_gflops),
    ]
    return PictureCost(
        model=model.name,
        device_model=device_model.name if device_model else None,
        spec=spec.to_dict(),
        candidates=len(texts),
        steps=num_inference_steps,
        server_steps=spec.acceleration.num_steps,
        client_steps=num_inference_steps - pairing.first_step,
        height=size[0] * scale,
        width=size[1] * scale,
        link=str(link),
        speeds=speeds,
        rounds=2,
        sent_bytes=sent,
        received_bytes=received,
        server_flops=work,
        server_text_flops=reading,
        client_flops=own,
        client_text_and_decoder_flops=once,
        client_weight_bytes=_weight_bytes(device) if device_model else None,
        alone_flops=alone.total * (1 + guided) * pairing.num_inference_steps,
        published_way_flops=sum(step.as_published for step in half),
        published_flops=_published(model.name, spec, len(texts)),
        seconds=sum(s for s in seconds if s is not None),
    )


def _published(model: str, spec: PromptSet, num_candidates: int) -> float | None:
    """The paper's cell in FLOPs, where settings and model are its own."""
    if not spec.reuse_maps or spec.refresh_every:
        return None
    cell = TABLE_7.get((model, spec.server_steps), {}).get(num_candidates)
    return cell and cell * 1e12


@lru_cache(maxsize=64)
def _server_steps(
    server: Skeleton, acceleration: Acceleration, num_candidates: int, size: tuple[int, int], is_guided: bool
) -> tuple[StepFlops, ...]:
    return server_flops(
        server.unet,
        acceleration,
        num_candidates=num_candidates,
        latent_size=size,
        num_tokens=server.num_tokens,
        is_guided=is_guided,
        counter=_each_shape_once,
    )


@contextmanager
def _each_shape_once() -> Iterator[Callable[[], int]]:
    with ShapesOnly() as shapes:
        yield lambda: shapes.flops


@lru_cache(maxsize=16)
def _pass_flops(parts: Skeleton, size: tuple[int, int], guided: bool) -> int:
    """One call of the U-Net."""
    latent = torch.empty(1, parts.config.in_channels, *size, device="meta")
    conditioning = meta_conditioning(parts.config, batch=1 + guided, num_tokens=parts.num_tokens)
    with torch.no_grad(), ShapesOnly() as shapes:
        predict(parts.unet, latent, torch.tensor(1), conditioning)
    return shapes.flops


def _weight_bytes(device: Skeleton) -> int:
    counted = device.parameters()
    return FLOAT_BYTES * (counted.text_encoder + counted.vae_decoder + counted.unet)


def _bytes(
    server: Skeleton,
    spec: PromptSet,
    pairing: Pairing,
    prompts: tuple[str, ...],
    negative: str,
    guided: bool,
    size: tuple[int, int],
    scale: int,
) -> tuple[int, int]:
    """What is sent and received, the handshake included: the sizes of the messages themselves."""
    channels, dtype = server.config.in_channels, WIRE_DTYPES[spec.wire_dtype]
    latents = torch.empty(len(prompts), channels, *size, dtype=dtype, device="meta")
    hello = Hello(
        package_version=VERSION,
        protocol=spec.name,
        spec_json=spec.to_json(),
        model_fingerprint=COUNTED_FINGERPRINT,
        cloud_index=0,
        num_clouds=1,
    )
    request = Candidates(
        prompts=prompts,
        negative=negative,
        has_negative=bool(negative),
        is_guided=guided,
        guidance_scale=5.0,
        scheduler=pairing.scheduler,
        num_inference_steps=pairing.num_inference_steps,
        height=size[0] * scale,
        width=size[1] * scale,
        seed=2**62 - 1,
        noise=latents[:1],
    )
    expected = pairing.expected
    reply = CandidateLatents(
        latents=latents,
        timestep=expected.timestep,
        sigma=expected.sigma,
        prediction_type=expected.prediction_type,
        schedule_hash=expected.schedule_hash,
        scaling_factor=expected.scaling_factor,
        previous=latents if spec.handoff == "ship-history" else None,
        previous_sigma=pairing.previous_sigma,
    )
    welcome = Welcome(package_version=VERSION, idle_seconds=1.0)
    return _sum_of_sizes(hello, request), _sum_of_sizes(welcome, reply)


def _sum_of_sizes(*messages: Message) -> int:
    return sum(map(encoded_size, messages))
