"""One pass of a U-Net over clouds in this process, and of the same U-Net unsplit."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from recorded import served
from sfumato.client.sessions import open_session
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.loading import load_unet
from sfumato.protocols.strip_split.client import StripSplitClient
from sfumato.transport.base import Channel
from sfumato.transport.in_process import InProcessChannel, InProcessPeers
from sfumato.transport.recording import RecordingChannel
from sfumato.wire.messages import Message
from sfumato.worker.sessions import CloudSession

TIMESTEP = torch.tensor(500)


def random_inputs(folder, size=(16, 12), *, num_latents=1, guided=True, seed=0) -> tuple[Tensor, Conditioning]:
    """A latent and a text, of the model's shapes."""
    generator = torch.Generator().manual_seed(seed)
    config = served(folder).unet.config
    rows = num_latents * (2 if guided else 1)
    pooled = time_ids = None
    if config.addition_embed_type == "text_time":
        width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        pooled, time_ids = torch.randn(rows, width, generator=generator), 64.0 * torch.ones(rows, 6)
    embeds = torch.randn(rows, 7, config.cross_attention_dim, generator=generator)
    latent = torch.randn(num_latents, 4, *size, generator=generator)
    return latent, Conditioning(prompt_embeds=embeds, pooled=pooled, time_ids=time_ids)


def split_pass(
    folder,
    spec,
    latent,
    conditioning,
    watch: Callable = lambda cloud, handle: handle,
    num_steps=1,
    recorded_to: Path | None = None,
    tamper: Callable[[int, int, Message], Message] | None = None,
) -> Tensor:
    """The last of some passes over clouds in this process.

    ``watch`` may wrap what answers for a cloud, and ``tamper`` is given what one cloud sends another.
    """
    peers = InProcessPeers.of_all(spec.num_clouds)
    if tamper:
        for cloud, each in enumerate(peers):
            each.exchange = partial(_tampered, cloud, tamper, each.exchange)
    channel: Channel = InProcessChannel(
        [watch(cloud, CloudSession(served(folder), peers=each).handle) for cloud, each in enumerate(peers)], peers
    )
    half = StripSplitClient(spec)
    with RecordingChannel(channel, recorded_to) if recorded_to else channel as channel:
        open_session(channel, spec, served(folder).fingerprint)
        with half.denoiser(load_unet(folder, half.keeps), channel) as denoiser:
            for _ in range(num_steps):
                prediction = denoiser(latent, TIMESTEP, conditioning)
    return prediction


def _tampered(cloud, tamper, exchange, sent, due, kind):
    return exchange({to: tamper(cloud, to, message) for to, message in sent.items()}, due, kind)


@torch.no_grad()
def unsplit_pass(folder, latent, conditioning) -> Tensor:
    return predict(served(folder).unet, latent, TIMESTEP, conditioning)


def error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, of the largest value."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())
