"""One run in a process of its own, step by step: local diffusers, or a protocol over local cloud processes.

Run by :func:`run` as ``python -m sfumato.bench.one_run``, so that memory is that of this run alone.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sfumato.bench.pacing import Forwarded, Proxy
from sfumato.bench.watched import watch
from sfumato.cost.link import parse_link
from sfumato.transport.allocator import keep_large_buffers

if TYPE_CHECKING:
    from sfumato.client.local_clouds import LocalClouds
    from sfumato.transport.base import Channel, Traffic

LOCAL = "local diffusers"
PROMPT = "a young woman with red hair and glasses, blue background"
_ROUND_SECONDS = 900.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to run."""

    way: str
    """:data:`LOCAL`, or the name of a protocol."""
    spec_json: str = ""
    model: str
    """Folder or name."""
    steps: int
    """DDIM steps; the first is apart from the others, because it also loads what is mapped and says hello."""
    guidance_scale: float = 5.0
    prompt: str = PROMPT
    seed: int = 7
    height: int | None = None
    width: int | None = None
    link: str | None = None
    """UP/DOWN/RTT of a link between client and clouds; None for loopback."""
    picture: str | None = None
    """File for the picture; None decodes nothing."""


@dataclass(frozen=True, kw_only=True)
class StepSample:
    """One denoising step. Bytes and rounds are those that the channel counted."""

    seconds: float
    waiting_seconds: float = 0.0
    codec_seconds: float = 0.0
    rounds: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run took."""

    first: StepSample
    steps: tuple[StepSample, ...]
    """All but the first."""
    client_bytes: int
    """Peak resident memory of the client, mapped files included."""
    cloud_bytes: int = 0
    """Peak of the largest cloud (PSS)."""
    clouds_bytes: int = 0
    """Peak of all clouds together, their nursery included (PSS)."""
    forwarded: Forwarded | None = None
    """What a shaped link carried in the steps after the first."""

    @property
    def seconds(self) -> float:
        """Median of a step."""
        return median(step.seconds for step in self.steps)

    def mean(self, name: str) -> float:
        """Mean of a field over the steps."""
        return sum(getattr(step, name) for step in self.steps) / len(self.steps)

    @property
    def waiting_share(self) -> float:
        """Part of the steps that the client spent waiting for clouds and network, its own codec not counted."""
        waiting = sum(step.waiting_seconds - step.codec_seconds for step in self.steps)
        return waiting / sum(step.seconds for step in self.steps)

    @property
    def codec_share(self) -> float:
        """Part of the steps that the client spent turning messages into bytes and back."""
        return sum(step.codec_seconds for step in self.steps) / sum(step.seconds for step in self.steps)


def run(order: Order) -> Outcome:
    """Runs an order in a fresh process and watches its memory.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcome.json"
        command = [sys.executable, "-m", "sfumato.bench.one_run", json.dumps(asdict(order)), str(file)]
        watched = watch(order.way, command, _POLL_SECONDS)
        found = json.loads(file.read_text())
    return Outcome(
        first=StepSample(**found["first"]),
        steps=tuple(StepSample(**step) for step in found["steps"]),
        client_bytes=found["client_bytes"],
        cloud_bytes=watched.largest_child_bytes,
        clouds_bytes=watched.children_bytes,
        forwarded=Forwarded(**found["forwarded"]) if found["forwarded"] else None,
    )


def merged(outcomes: Sequence[Outcome]) -> Outcome:
    """Several runs of one order as one: all their steps, and their largest peaks."""
    forwarded = [o.forwarded for o in outcomes if o.forwarded]
    return replace(
        outcomes[0],
        forwarded=Forwarded(
            sent_bytes=sum(f.sent_bytes for f in forwarded), received_bytes=sum(f.received_bytes for f in forwarded)
        )
        if forwarded
        else None,
        steps=tuple(step for outcome in outcomes for step in outcome.steps),
        client_bytes=max(o.client_bytes for o in outcomes),
        cloud_bytes=max(o.cloud_bytes for o in outcomes),
        clouds_bytes=max(o.clouds_bytes for o in outcomes),
    )


class _Clock:
    """Takes the difference between one step's end and the next one's."""

    def __init__(self) -> None:
        self.steps: list[StepSample] = []
        self._last = StepSample(seconds=perf_counter())

    def tick(self, traffic: "Traffic | None" = None) -> None:
        """A step has ended."""
        names = [f.name for f in fields(StepSample)]
        counted = {} if traffic is None else {n: getattr(traffic, n) for n in names if n != "seconds"}
        now = StepSample(seconds=perf_counter(), **counted)
        self.steps.append(StepSample(**{n: getattr(now, n) - getattr(self._last, n) for n in names}))
        self._last = now


def _local(order: Order) -> tuple[_Clock, None]:
    from diffusers import DDIMScheduler, DiffusionPipeline

    from sfumato.randomness import seeded_generator

    pipe = DiffusionPipeline.from_pretrained(order.model)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    clock = _Clock()

    def on_step_end(_: Any, __: int, ___: Any, state: dict[str, Any]) -> dict[str, Any]:
        clock.tick()
        return state

    images = pipe(
        order.prompt,
        num_inference_steps=order.steps,
        guidance_scale=order.guidance_scale,
        generator=seeded_generator(order.seed),
        height=order.height,
        width=order.width,
        output_type="pil" if order.picture else "latent",
        callback_on_step_end=on_step_end,
    ).images
    if order.picture:
        images[0].save(order.picture)
    return clock, None


class _Nearby:
    """Local clouds, behind a shaped link if there is one."""

    def __init__(self, clouds: "LocalClouds", proxy: Proxy | None):
        self._clouds = clouds
        self._proxy = proxy

    @contextmanager
    def open_channel(self) -> "Iterator[Channel]":
        from sfumato.transport.grpc_client import GrpcChannel

        nearby = addresses = self._clouds.addresses
        if self._proxy is not None:
            addresses = tuple(replace(a, port=p) for a, p in zip(nearby, self._proxy.ports, strict=True))
        # The shaped link is the client's: clouds that meet do so beside it.
        with GrpcChannel(addresses, self._clouds.keys, timeout_seconds=_ROUND_SECONDS, met_at=nearby) as channel:
            yield channel

    def close(self) -> None:
        """Closed by who started them."""


def _split(order: Order) -> tuple[_Clock, Forwarded | None]:
    import torch

    from sfumato.client.local_clouds import LocalClouds
    from sfumato.client.pipeline import PrivatePipeline
    from sfumato.models.folder import find_model
    from sfumato.protocols.specs import find_spec

    spec, folder = find_spec(order.way).from_json(order.spec_json), find_model(order.model)
    with ExitStack() as stack:
        clouds = stack.enter_context(LocalClouds(folder.path, spec.num_clouds, idle_seconds=_ROUND_SECONDS))
        ports = [address.port for address in clouds.addresses]
        proxy = stack.enter_context(Proxy(parse_link(order.link), ports)) if order.link else None
        nearby = _Nearby(clouds, proxy)
        pipe = PrivatePipeline(folder, spec, nearby, torch_dtype=torch.float32, scheduler="ddim")
        clock = _Clock()
        forwarded: list[Forwarded] = []

        def on_step_end(pipe: PrivatePipeline, index: int, _: Any, state: dict[str, Any]) -> dict[str, Any]:
            clock.tick(pipe.traffic)
            if proxy and index in (0, order.steps - 1):
                forwarded.append(proxy.forwarded())
            return state

        images = pipe(
            order.prompt,
            num_inference_steps=order.steps,
            guidance_scale=order.guidance_scale,
            seed=order.seed,
            height=order.height,
            width=order.width,
            output_type="pil" if order.picture else "latent",
            callback_on_step_end=on_step_end,
        ).images
    if order.picture:
        images[0].save(order.picture)
    if not forwarded:
        return clock, None
    before, after = forwarded[0], forwarded[-1]
    sent, received = after.sent_bytes - before.sent_bytes, after.received_bytes - before.received_bytes
    return clock, Forwarded(sent_bytes=sent, received_bytes=received)


def _peak_bytes() -> int:
    """Peak resident memory of this program alone; what getrusage says may be its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(order_json: str, file: str) -> None:
    """Runs an order and writes what it took."""
    order = Order(**json.loads(order_json))
    if order.way == LOCAL:
        clock, forwarded = _local(order)
    else:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        keep_large_buffers()
        clock, forwarded = _split(order)
    first, *others = (asdict(step) for step in clock.steps)
    found = {
        "first": first,
        "steps": others,
        "client_bytes": _peak_bytes(),
        "forwarded": forwarded and asdict(forwarded),
    }
    Path(file).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
