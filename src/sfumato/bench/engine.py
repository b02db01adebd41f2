"""What the engine itself costs: the part of a step that is not in torch's kernels.

Client and clouds run in one process, with the messages that a run sends and their encoding, but no network. In a step
of its own, every operator that torch dispatches is timed, and its kernel taken to be that time less what an operator
takes that computes nothing. What is left of that same step is the engine: Python, dispatching, places, checks, messages
and codec, and for the unsplit model what diffusers spends outside of kernels. Both parts come from one step, so that
other load on the machine hits both alike. The clock's own cost is taken off as it is on operators that compute nothing;
on others it is somewhat higher, so that the engine's part is an upper bound, and a loose one where kernels are small.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sfumato.bench.kernel_clock import KernelClock, idle
from sfumato.bench.one_run import PROMPT
from sfumato.bench.ways import Way, bench_model, named_way
from sfumato.bench.written import Results
from sfumato.client.catalog import client_half
from sfumato.client.sessions import open_session
from sfumato.errors import Unsupported
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.decoding import scale_factor
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_decoder, load_unet
from sfumato.protocols.client_half import StepwiseClient
from sfumato.randomness import seeded_generator
from sfumato.tensors import Latent
from sfumato.transport.in_process import Handler, InProcessChannel, InProcessPeers
from sfumato.wire.codec import decode, encode
from sfumato.wire.messages import Message
from sfumato.worker.sessions import CloudSession, ServedModel, serve_model

_TIMESTEP = 500


class Carrier:
    """Turns every message into bytes and back, as a stream does, and keeps the time that it takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def cloud(self, session: CloudSession) -> Handler:
        """What answers for a cloud: its session, behind the bytes."""

        def answer(request: Message) -> Message:
            asked = self._carry(request, session.kinds)
            reply = session.handle(asked)
            return self._carry(reply, (type(reply),))

        return answer

    def _carry(self, message: Message, kinds: tuple[type[Message], ...]) -> Message:
        started = perf_counter()
        encoded = encode(message)
        carried: Message = decode(encoded.header, bytearray(b"".join(encoded.buffers)), kinds)
        self.seconds += perf_counter() - started
        return carried


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Medians over the steps of one way."""

    way: Way | None
    """None for the unsplit model."""
    seconds: float
    """Of a step without the clock."""
    kernel_seconds: float
    engine_seconds: float
    codec_seconds: float
    """Part of the engine: messages to bytes and back, at both ends."""
    kernel_calls: int

    @property
    def name(self) -> str:
        """The way, with its number of clouds."""
        return "unsplit" if self.way is None else self.way.name

    @property
    def overhead(self) -> float:
        """The engine's share of a step."""
        return self.engine_seconds / (self.engine_seconds + self.kernel_seconds)


@dataclass(frozen=True, kw_only=True)
class EngineRequest:
    """What the command line asked for."""

    model: str
    ways: Sequence[str]
    num_clouds: Sequence[int]
    repeats: int
    threads: int
    height: int | None
    width: int | None
    out: Path | None


Step = Callable[[], object]


class Bench:
    """One model and one input, for steps of several ways."""

    def __init__(self, model: ModelFolder, height: int | None, width: int | None):
        self.model = model
        self.served: ServedModel = serve_model(model)
        unet: Any = self.served.unet
        factor, own = scale_factor(load_decoder(model)), unet.config.sample_size
        rows, columns = (own, own) if isinstance(own, int) else own
        size = ((height or rows * factor) // factor, (width or columns * factor) // factor)
        self.latent: Latent = torch.randn(1, unet.config.in_channels, *size, generator=seeded_generator(7))
        self.conditioning: Conditioning = PromptEncoder(model).encode(
            [PROMPT], None, guided=True, num_images_per_prompt=1, height=size[0] * factor, width=size[1] * factor
        )

    def unsplit(self) -> Latent:
        """One call of the whole U-Net."""
        return predict(self.served.unet, self.latent, torch.tensor(_TIMESTEP), self.conditioning)

    @contextmanager
    def split(self, way: Way) -> Iterator[tuple[Callable[[], Latent], Carrier]]:
        """Gives a function that runs one step over clouds in this process, and what carries its messages.

        Raises:
            Unsupported: the protocol has no repeating step.
        """
        half = client_half(way.spec)
        if not isinstance(half, StepwiseClient):
            raise Unsupported(f"{way.spec.name} has no denoising step that repeats")
        unet = load_unet(self.model, half.keeps)
        half.check(unet, tuple(self.latent.shape), self.conditioning.batch)
        carrier = Carrier()
        peers = InProcessPeers.of_all(way.spec.num_clouds)
        clouds = [carrier.cloud(CloudSession(self.served, peers=each)) for each in peers]
        with InProcessChannel(clouds, peers) as channel:
            open_session(channel, way.spec, self.served.fingerprint)
            with half.denoiser(unet, channel) as denoiser:
                yield lambda: denoiser(self.latent, torch.tensor(_TIMESTEP), self.conditioning), carrier


@torch.no_grad()
def _timed(way: Way | None, step: Step, repeats: int, carrier: Carrier) -> StepTimes:
    """Times steps without and with the clock in turn, after one that does not count."""
    seconds, kernels, engines, codecs, calls = [], [], [], [], 0
    step()
    for _ in range(repeats):
        before = carrier.seconds
        started = perf_counter()
        step()
        seconds.append(perf_counter() - started)
        codecs.append(carrier.seconds - before)
        nothing = idle()
        with KernelClock(nothing.clocked) as clock:
            started = perf_counter()
            step()
            under_clock = perf_counter() - started
        calls = clock.num_calls
        kernels.append(clock.seconds)
        engines.append(under_clock - clock.seconds - calls * nothing.instrument)
    return StepTimes(
        way=way,
        seconds=median(seconds),
        kernel_seconds=median(kernels),
        engine_seconds=median(engines),
        codec_seconds=median(codecs),
        kernel_calls=calls,
    )


def measure(request: EngineRequest, ways: Sequence[Way], progress: Callable[[str], None]) -> list[StepTimes]:
    """The unsplit model, then every way.

    Raises:
        Unsupported: clouds meet, each in a thread of its own, and one thread is timed.
    """
    if meeting := [way.name for way in ways if way.spec.peers_of(0)]:
        raise Unsupported(
            f"one thread is timed, and clouds that meet have one each: measure {meeting[0]} with bench steps"
        )
    before = torch.get_num_threads()
    torch.set_num_threads(request.threads)
    try:
        bench = Bench(bench_model(request.model), request.height, request.width)
        progress("unsplit")
        found = [_timed(None, bench.unsplit, request.repeats, Carrier())]
        for way in ways:
            progress(way.name)
            with bench.split(way) as (step, carrier):
                found.append(_timed(way, step, request.repeats, carrier))
        return found
    finally:
        torch.set_num_threads(before)


def bench_engine(request: EngineRequest) -> None:
    """Measures, prints and writes."""
    ways = [named_way(text, n) for n in request.num_clouds for text in request.ways]
    results = Results(folder=request.out, name="engine")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("loading", total=1 + len(ways))
        found = measure(request, ways, lambda name: bar.update(task, description=name, advance=1))
    results.give([_row(request, times, found[0]) for times in found], _table(request, found))


def _row(request: EngineRequest, times: StepTimes, unsplit: StepTimes) -> dict[str, Any]:
    return {
        "bench": "engine",
        "model": request.model,
        **({"way": "unsplit", "spec": None, "clouds": 0} if times.way is None else times.way.to_dict()),
        "height": request.height,
        "width": request.width,
        "threads": request.threads,
        "repeats": request.repeats,
        "seconds": times.seconds,
        "kernel_seconds": times.kernel_seconds,
        "engine_seconds": times.engine_seconds,
        "codec_seconds": times.codec_seconds,
        "kernel_calls": times.kernel_calls,
        "overhead": times.overhead,
        "kernel_ratio": times.kernel_seconds / unsplit.kernel_seconds,
        "ratio": times.seconds / unsplit.seconds,
    }


def _table(request: EngineRequest, found: Sequence[StepTimes]) -> Table:
    threads = f"{request.threads} thread{'s' * (request.threads > 1)}"
    table = Table(
        title=f"One step on {request.model}, all parties in one process, {threads}: medians of {request.repeats}",
        title_justify="left",
        caption="engine = what is not in torch's kernels, the codec at both ends included, at most; % of both",
        caption_justify="left",
    )
    table.add_column("way", no_wrap=True)
    for heading in (
        "step, s",
        "ratio",
        "in kernels, s",
        "ratio",
        "engine at most, s",
        "%",
        "of it codec, s",
        "operators",
    ):
        table.add_column(heading, justify="right")
    base = found[0]
    for times in found:
        table.add_row(
            times.name,
            f"{times.seconds:.3f}",
            f"{times.seconds / base.seconds:.2f}",
            f"{times.kernel_seconds:.3f}",
            f"{times.kernel_seconds / base.kernel_seconds:.2f}",
            f"{times.engine_seconds:.3f}",
            f"{100 * times.overhead:.1f}",
            f"{times.codec_seconds:.3f}",
            str(times.kernel_calls),
        )
    return table
