"""Runs whose clouds are in this process and whose every message is kept, beside what the client really held."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.client.pipeline import PrivateOutput, PrivatePipeline
from sfumato.client.private import private_of
from sfumato.client.wrapped_clouds import RecordedClouds
from sfumato.models.folder import ModelFolder
from sfumato.models.layers import layers_of
from sfumato.protocols.base import Spec
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.simulation import InProcessClouds
from sfumato.transport.recording import Recording
from sfumato.wire.transcript import Direction, Entry
from sfumato.worker.sessions import ServedModel, serve_model

PROMPT = "a weatherbeaten fisherman"
ALL_LAYERS = frozenset({"conv", "pointwise_conv", "self_attention", "cross_attention", "norm"})


@lru_cache
def served(folder: ModelFolder) -> ServedModel:
    return serve_model(folder)


@dataclass
class LayerInput:
    """What one call of one layer was given: a feature map, or queries, keys and values."""

    path: str
    kind: str
    tensors: list[Tensor]


@contextmanager
def watched_inputs(unet: nn.Module) -> Iterator[list[LayerInput]]:
    """Every layer's true input, in the order of calls, whether the layer computes here or elsewhere."""
    seen: list[LayerInput] = []
    hooks: list[Any] = []

    def watch(path: str, kind: str, module: Any) -> None:
        if not kind.endswith("attention"):
            hooks.append(
                module.register_forward_pre_hook(lambda _, args: seen.append(LayerInput(path, kind, [args[0].clone()])))
            )
            return
        projected: list[Tensor] = []
        for projection in (module.to_q, module.to_k, module.to_v):
            hooks.append(projection.register_forward_hook(lambda *call: projected.append(call[2].clone())))
        hooks.append(
            module.to_out[0].register_forward_pre_hook(
                lambda *_: (seen.append(LayerInput(path, kind, projected[-3:])), projected.clear())[1]
            )
        )

    for layer in layers_of(unet):
        watch(*layer)
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class Run:
    spec: Spec
    output: PrivateOutput
    recording: Recording
    folder: Path
    inputs: list[LayerInput]
    latents: list[Tensor] = field(default_factory=list)

    def sent(self, cloud: int) -> list[Entry]:
        """What one cloud was sent, in order."""
        entries = self.recording.transcripts[f"cloud-{cloud + 1}"].entries
        return [e for e in entries if e.direction is Direction.TO_CLOUD]


def in_process(model: ModelFolder, spec: Spec, scheduler: str = "ddim", clouds: Any = None) -> PrivatePipeline:
    """A pipeline whose clouds share one loaded model; a device model, where there must be one, is the same."""
    private = private_of(spec, model, model.path if isinstance(spec, PromptSet) else None)
    clouds = clouds or InProcessClouds(served(model), spec.num_clouds)
    return PrivatePipeline(model, spec, clouds, torch_dtype=torch.float32, scheduler=scheduler, private=private)


def record(model: ModelFolder, spec: Spec, folder: Path, prompt: str = PROMPT, **arguments: Any) -> Run:
    """Generates and keeps everything; ``folder`` gets the recording."""
    pipe = in_process(model, spec, clouds=RecordedClouds(InProcessClouds(served(model), spec.num_clouds), folder))
    latents: list[Tensor] = []

    def on_step_end(_: Any, __: int, ___: Any, state: dict[str, Any]) -> dict[str, Any]:
        latents.append(state["latents"])
        return state

    arguments = {"num_inference_steps": 2, "seed": 3, "output_type": "latent"} | arguments
    with watched_inputs(pipe._unet) as inputs:
        output = pipe(prompt, callback_on_step_end=on_step_end, **arguments)
    return Run(spec, output, Recording.read(folder), folder, list(inputs), latents)


def shape_of(entry: Entry) -> tuple[Any, ...]:
    """All of a message that its receiver could tell without looking at numbers."""
    tensors = tuple((name, None if t is None else (t.dtype, *t.shape)) for name, t in entry.tensors.items())
    return (entry.direction, entry.kind, tuple(entry.values.items()), tensors, entry.size_bytes)
