"""Counts everything that really crosses the wire: the dry run, as a :class:`Cost`."""

from collections.abc import Sequence
from functools import lru_cache

import torch

from sfumato.client.catalog import client_half
from sfumato.cost.cycles import cycle_of, once_of
from sfumato.cost.dry_run import DryRun, Round, dry_run
from sfumato.cost.link import Link
from sfumato.cost.means import mean
from sfumato.cost.result import FLOAT_BYTES, Between, Compute, Cost, Sizes, TopicCost
from sfumato.cost.speeds import UNKNOWN, Speeds, busiest_cloud_flops, mean_seconds, stated_model, step_seconds
from sfumato.models.denoiser import meta_conditioning
from sfumato.models.folder import ModelFolder
from sfumato.models.skeleton import Skeleton, whole_skeleton
from sfumato.protocols.base import Spec


def count_cost(
    model: ModelFolder,
    spec: Spec,
    link: Link,
    *,
    height: int | None = None,
    width: int | None = None,
    guided: bool = True,
    speeds: Speeds = UNKNOWN,
) -> Cost:
    """Counts one denoising step of one picture, as the mean of a cycle where steps differ.

    Args:
        model: its configurations are enough.
        spec: the protocol, with its number of clouds.
        link: the client's.
        height, width: of the picture in pixels; None for the model's own size.
        guided: whether prompt and negative prompt go through the U-Net together.
        speeds: at which client and clouds compute; computing of unknown speed takes no modelled time.

    Raises:
        Unsupported: the protocol cannot run this model, or has no repeating step.
        ValueError: the picture's size does not fit the model, or the clouds do not fit the picture.
    """
    parts = whole_skeleton(model)
    rows, columns = parts.latent_size(height, width)
    prompts = 2 if guided else 1
    run = _run(parts, spec, prompts, rows, columns)
    scale = parts.pixels_per_latent_row
    compute = _compute(parts, spec, run, (rows, columns), prompts)
    seconds = mean_seconds([step_seconds(step, link, speeds) for step in run.cycle])
    return Cost(
        model=model.name,
        protocol=spec.name,
        spec=spec.to_dict(),
        clouds=spec.num_clouds,
        height=rows * scale,
        width=columns * scale,
        rounds=mean(len(run.cycle_rounds), len(run.cycle)),
        cycle=cycle_of(run),
        seconds_per_step=seconds.total,
        step_seconds=seconds,
        link=str(link),
        speeds=speeds,
        parameters=parts.parameters(),
        per_cloud=_by_topic(run.cycle_rounds, len(run.cycle)),
        between=_between(run.cycle_rounds, len(run.cycle)),
        once=once_of(run, link, compute, speeds),
        compute=compute,
        notes=_notes(spec, guided, speeds),
    )


@lru_cache(maxsize=64)
def _run(parts: Skeleton, spec: Spec, num_prompts: int, rows: int, columns: int) -> DryRun:
    """The dry run, which neither links nor speeds change."""
    latent = torch.empty(1, parts.config.in_channels, rows, columns, device="meta")
    conditioning = meta_conditioning(parts.config, batch=num_prompts, num_tokens=parts.num_tokens)
    return dry_run(spec, parts.unet, latent, conditioning)


def _compute(parts: Skeleton, spec: Spec, run: DryRun, latent: tuple[int, int], num_prompts: int) -> Compute:
    text_encoder, vae_decoder = _flops_once(parts, num_prompts, *latent)
    num_steps, rounds = len(run.cycle), run.cycle_rounds
    return Compute(
        client_flops=mean(sum(step.client_flops for step in run.cycle), num_steps),
        cloud_flops=mean(sum(sum(r.cloud_flops) for r in rounds), num_steps),
        busiest_cloud_flops=mean(busiest_cloud_flops(rounds), num_steps),
        client_weight_bytes=_client_weight_bytes(parts, spec),
        text_encoder_flops=text_encoder,
        vae_decoder_flops=vae_decoder,
    )


@lru_cache(maxsize=16)
def _flops_once(parts: Skeleton, num_prompts: int, rows: int, columns: int) -> tuple[int, int]:
    """FLOPs of text encoders and decoder, which no protocol changes."""
    return parts.text_flops(num_prompts), parts.decoder_flops(rows, columns)


def _notes(spec: Spec, guided: bool, speeds: Speeds) -> tuple[str, ...]:
    passes = "with guidance: prompt and negative prompt in one batch" if guided else "without guidance"
    step = "One step" if spec.step_cycle.length == 1 else "The mean step"
    return (
        f"{step} of one picture, {passes}; bytes as they cross the wire, headers and frames included, "
        "below them HTTP/2 and TLS.",
        _repeating(*spec.step_cycle),
        "per_cloud: min and max are single messages at any cloud, total is the busiest cloud's, all_clouds the sum.",
        f"Modelled: {stated_model(speeds, meets=bool(spec.peers_of(0)))}.",
    )


def _repeating(before: int, length: int) -> str:
    """Says which steps the figures are of."""
    if length == 1:
        return (
            "Totals and rounds are those of every step but the first; what a run spends once, the handshake among it, "
            "is under once."
        )
    return (
        f"Steps differ: after the first {before} they repeat in cycles of {length}, and what is said of a step is the "
        f"mean of a cycle. Under once are the handshake and what those {before} spend beyond the mean, below zero "
        "where they spend less; with it a run that ends with a cycle is exact."
    )


def _sizes(messages: Sequence[tuple[int, ...]], num_steps: int) -> Sizes:
    every = [size for sizes in messages for size in sizes]
    busiest = max(map(sum, zip(*messages, strict=True)))
    return Sizes(min=min(every), max=max(every), total=mean(busiest, num_steps), all_clouds=mean(sum(every), num_steps))


def _by_topic(rounds: Sequence[Round], num_steps: int) -> dict[str, TopicCost]:
    out = {}
    for topic in dict.fromkeys(r.topic for r in rounds):
        mine = [r for r in rounds if r.topic == topic]
        out[topic] = TopicCost(
            rounds=mean(len(mine), num_steps),
            up=_sizes([r.sent_bytes for r in mine], num_steps),
            down=_sizes([r.received_bytes for r in mine], num_steps),
            cloud_flops=mean(sum(sum(r.cloud_flops) for r in mine), num_steps),
        )
    return out


def _between(rounds: Sequence[Round], num_steps: int) -> Between | None:
    exchanges = [sent for r in rounds for sent in r.between]
    if not exchanges:
        return None
    by_cloud = [sum(sent) for sent in zip(*exchanges, strict=True)]
    return Between(
        exchanges=mean(len(exchanges), num_steps),
        sent_bytes=mean(sum(by_cloud), num_steps),
        busiest_cloud_bytes=mean(max(by_cloud), num_steps),
    )


def _client_weight_bytes(parts: Skeleton, spec: Spec) -> int:
    keeps = client_half(spec).keeps(parts.unet)
    kept = sum(p.numel() for path, p in parts.unet.named_parameters() if keeps(path))
    counted = parts.parameters()
    return FLOAT_BYTES * (kept + counted.text_encoder + counted.vae_decoder)
