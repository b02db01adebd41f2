"""What a sweep's picture costs beside the U-Net calls that it cannot do without."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, get_args

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sfumato.experiments.grid import Batch, condition
from sfumato.experiments.picturing import compute
from sfumato.experiments.ppidm_fidelity.study import native_size
from sfumato.experiments.prompts import Prompt
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.denoiser import predict
from sfumato.models.folder import ModelFolder, find_model
from sfumato.models.loading import load_unet
from sfumato.protocols.base import Spec
from sfumato.protocols.layer_split.spec import LayerSplit, Merge
from sfumato.protocols.plain.spec import Plain
from sfumato.version import VERSION

_PROMPT = "a young woman with red hair and glasses, blue background"
_TIMED_CALLS = 5


@dataclass(frozen=True, kw_only=True)
class SweepCost:
    """One condition: seconds of a whole batch, and of the bare U-Net calls in it."""

    spec: Spec
    batch_seconds: float
    unet_seconds: float
    """Of as many calls of the unsplit U-Net, of the same shape, timed just before and just after."""

    @property
    def ratio(self) -> float:
        """1 would be no cost but the U-Net's."""
        return self.batch_seconds / self.unet_seconds


def measure(model: str, *, num_clouds: list[int], steps: int, batch_size: int) -> Iterator[SweepCost]:
    """Times the batches of one chunk of the study: unsplit, and every number of clouds with both merges."""
    torch.set_num_threads(1)
    folder = find_model(model)
    height, width, factor = native_size(folder)
    call = _bare_call(folder, height, width, factor, batch_size)
    split = [LayerSplit(num_clouds=n, merge=m) for n in num_clouds for m in get_args(Merge)]
    compute(_batch(folder, Plain(), 1, 1), VERSION, None)  # loads the model
    for spec in (Plain(), *split):
        before = call()
        started = perf_counter()
        compute(_batch(folder, spec, steps, batch_size), VERSION, None)
        batch_seconds = perf_counter() - started
        yield SweepCost(spec=spec, batch_seconds=batch_seconds, unet_seconds=steps * (before + call()) / 2)


def _batch(folder: ModelFolder, spec: Spec, steps: int, batch_size: int) -> Batch:
    height, width, _ = native_size(folder)
    how = condition(folder.reference, folder.unet_fingerprint, spec, steps=steps, height=height, width=width)
    prompts = tuple(Prompt(index=i, text=_PROMPT, seed=i) for i in range(batch_size))
    return Batch(condition=how, prompt_set="bench", prompts=prompts, chunk=0)


def _bare_call(folder: ModelFolder, height: int, width: int, factor: int, batch_size: int) -> Any:
    """A function that times a guided call of the U-Net as stock diffusers makes it: seconds a call."""
    unet: Any = load_unet(folder)
    conditioning = PromptEncoder(folder).encode(
        [_PROMPT] * batch_size, None, guided=True, num_images_per_prompt=1, height=height, width=width
    )
    latent = torch.randn(2 * batch_size, unet.config.in_channels, height // factor, width // factor)

    @torch.no_grad()
    def timed() -> float:
        started = perf_counter()
        for _ in range(_TIMED_CALLS):
            predict(unet, latent, torch.tensor(500), conditioning)
        return (perf_counter() - started) / _TIMED_CALLS

    timed()
    return timed


def bench_sweep(model: str, *, num_clouds: list[int], steps: int, batch_size: int) -> None:
    """Measures and prints."""
    costs = list(
        track(
            measure(model, num_clouds=num_clouds, steps=steps, batch_size=batch_size),
            total=1 + len(num_clouds) * len(get_args(Merge)),
            description="timing",
            console=Console(stderr=True),
            transient=True,
        )
    )
    title = f"A sweep on {model}: {steps} DDIM steps, guidance 5, {batch_size} pictures a batch, one thread"
    table = Table(title=title, title_justify="left")
    for heading in ("what", "s a picture", "of it U-Net calls", "ratio", "overhead, %"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for cost in costs:
        name = f"{cost.spec.num_clouds} clouds, {cost.spec.merge}" if isinstance(cost.spec, LayerSplit) else "unsplit"
        table.add_row(name, *_figures(cost.batch_seconds, cost.unet_seconds, batch_size))
    whole = sum(c.batch_seconds for c in costs), sum(c.unet_seconds for c in costs)
    table.add_row("all", *_figures(*whole, batch_size * len(costs)), style="bold")
    Console().print(table)


def _figures(seconds: float, floor: float, num_pictures: int) -> tuple[str, ...]:
    return (
        f"{seconds / num_pictures:.2f}",
        f"{floor / num_pictures:.2f}",
        f"{seconds / floor:.2f}",
        f"{100 * (1 - floor / seconds):.0f}",
    )
