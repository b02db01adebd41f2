"""``sfumato bench inversion``: an iteration of the white-box attack beside the bare passes that it consists of."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import process_time

import torch
from rich.table import Table
from torch import Tensor

from sfumato.attacks.inversion.harness import white_box_view
from sfumato.attacks.inversion.latent_chain import latent_shape, native_size
from sfumato.attacks.inversion.texts import PriorTexts
from sfumato.attacks.inversion.view import Cut, Features
from sfumato.attacks.inversion.watch import Progress, Watch
from sfumato.attacks.inversion.white_box import WhiteBox
from sfumato.attacks.targets import load_target
from sfumato.bench.written import Results
from sfumato.models.decoding import decoded
from sfumato.models.denoiser import predict
from sfumato.models.folder import find_model
from sfumato.models.loading import load_decoder, load_unet
from sfumato.randomness import seeded_generator

_MIB = 1 << 20
_CALLS = 3
"""Of the U-Net after each iteration, of which the median counts."""


@dataclass(frozen=True, kw_only=True)
class InversionRequest:
    """What the command line asked for."""

    model: str
    target: str
    layer: str
    pictures: int
    steps: int
    repeats: int
    out: Path | None


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """Medians, in seconds of the processor, which other work on the machine leaves alone."""

    iteration: float
    unet: float
    """One call forward and back, of the whole batch."""
    decoder: float
    first: float
    """Of the target's first part with its preprocessing."""
    steps: int
    peak_bytes: int

    @property
    def bare(self) -> float:
        """The passes that an iteration cannot do without."""
        return self.steps * self.unet + self.decoder + self.first

    @property
    def ratio(self) -> float:
        """The iteration over its bare passes."""
        return self.iteration / self.bare


def bench_inversion(request: InversionRequest) -> None:
    """Measures, prints and writes.

    Raises:
        ModelError, Unsupported, ValueError: model, target or cut cannot be used.
    """
    results = Results(folder=request.out, name="inversion")
    found = measure(request)
    row = {"bench": "inversion"} | {k: v for k, v in asdict(request).items() if k != "out"} | asdict(found)
    results.give([row | {"bare": found.bare, "ratio": found.ratio}], _table(request, found))


def measure(request: InversionRequest) -> Iteration:
    """Runs iterations in one thread, with the bare passes after each; the first round does not count."""
    torch.set_num_threads(1)
    model = find_model(request.model)
    size = native_size(model)
    target = load_target(request.target)
    cut = target.cut(request.layer, size)
    pictures = torch.rand(request.pictures, 3, *size, generator=seeded_generator(1))
    view = white_box_view(
        pictures,
        lambda batch: cut.first(target.preprocess(batch)),
        cut=Cut(target=target.name, layer=request.layer),
        model=model,
    )
    unet, decoder = load_unet(model), load_decoder(model)
    words = PriorTexts(model, size, guided=False).conditioning([""] * request.pictures, view.device)
    latents = torch.randn(request.pictures, *latent_shape(model, size), generator=seeded_generator(2))
    timestep = torch.tensor(500)
    rounds: list[tuple[float, ...]] = []
    started = process_time()

    def after_an_iteration(_: Progress) -> None:
        nonlocal started
        iteration = process_time() - started
        calls = [_there_and_back(lambda x: predict(unet, x, timestep, words), latents) for _ in range(_CALLS)]
        decoding = _there_and_back(lambda x: decoded(decoder, x), latents)
        first = _there_and_back(lambda x: _sum(view.white_box()(x)), pictures)
        rounds.append((iteration, median(calls), decoding, first))
        started = process_time()

    attack = WhiteBox(iterations=request.repeats + 1, sampling_steps=request.steps, batch_size=request.pictures)
    peak_bytes = attack.run(view, Watch(on_iteration=after_an_iteration)).peak_bytes
    iteration, call, decoding, first = (median(values) for values in zip(*rounds[1:], strict=True))
    return Iteration(
        iteration=iteration, unet=call, decoder=decoding, first=first, steps=request.steps, peak_bytes=peak_bytes
    )


def _there_and_back(work: Callable[[Tensor], Tensor], given: Tensor) -> float:
    """Processor seconds of a forward pass and of the backward pass to its input."""
    started = process_time()
    at = given.detach().requires_grad_()
    result = work(at)
    result.backward(torch.ones_like(result))
    return process_time() - started


def _sum(features: Features) -> Tensor:
    return torch.stack([part.sum() for part in features]).sum()


def _table(request: InversionRequest, found: Iteration) -> Table:
    title = (
        f"White-box attack: {request.pictures} pictures of {request.model}, {request.steps} steps, "
        f"{request.target} {request.layer}; processor seconds of an iteration, medians of {request.repeats}"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("iteration", "bare passes", "ratio", "a U-Net call", "decoder", "target", "peak, MiB"):
        table.add_column(heading, justify="right")
    parts = (found.iteration, found.bare, found.ratio, found.unet, found.decoder, found.first)
    table.add_row(*(f"{value:.3f}" for value in parts), f"{found.peak_bytes / _MIB:.0f}")
    return table
