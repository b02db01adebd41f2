"""``sfumato bench vault``: what keeping latents encrypted costs, and combining them, beside the same in the clear."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from statistics import median
from time import process_time

import torch
from rich.table import Table
from torch import Tensor

from sfumato.bench.encryption import SHAPES
from sfumato.bench.written import Results
from sfumato.client.vault import FLOOD_BITS, Cost, LatentVault
from sfumato.client.vault_folder import VaultFolder
from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.models.folder import find_model
from sfumato.protocols.vault.spec import Vault
from sfumato.protocols.vault.store import VaultStore
from sfumato.randomness import seeded_generator
from sfumato.transport.base import Channel
from sfumato.transport.in_process import InProcessChannel
from sfumato.wire.messages import Hello, Message
from sfumato.worker.sessions import CloudSession


@dataclass(frozen=True, kw_only=True)
class CommandCost:
    """One command; medians, in milliseconds of the processor, without network, handshake, disk and pictures."""

    latent: str
    command: str
    client_milliseconds: float
    cloud_milliseconds: float
    sent_bytes: int
    received_bytes: int
    plain_milliseconds: float | None
    """The same arithmetic in the clear, in fp32; None where there is none."""

    @property
    def ratio(self) -> float | None:
        """Client and cloud over the arithmetic in the clear."""
        both = self.client_milliseconds + self.cloud_milliseconds
        return None if self.plain_milliseconds is None else both / self.plain_milliseconds


@dataclass(frozen=True, kw_only=True)
class Errors:
    """The largest of a latent's values, each less what it would be in the clear."""

    put_error: float
    blend_error: float
    fetched_blend_error: float
    """As it is fetched."""


def bench_vault(repeats: int, out: Path | None) -> None:
    """Measures every command on latents of both sizes, in one thread, and prints a row each.

    Processor time, as other jobs on the machine and a disk that is written through would drown the rest.
    """
    results = Results(folder=out, name="vault")
    torch.set_num_threads(1)
    costs = [cost for latent in SHAPES for cost in measure(latent, repeats)]
    errors = {latent: largest_errors(prod(shape)) for latent, shape in SHAPES.items()}
    rows = [
        {"bench": "vault", "repeats": repeats, "ratio": cost.ratio} | asdict(cost) | asdict(errors[cost.latent])
        for cost in costs
    ]
    results.give(rows, _cost_table(costs, repeats), _error_table(errors))


@dataclass
class _TimedClouds:
    """A cloud in this process, whose own time is counted apart."""

    folder: Path
    seconds: float = 0.0

    @contextmanager
    def open_channel(self) -> Iterator[Channel]:
        session = CloudSession(None, vaults=VaultStore(self.folder))

        def handle(request: Message) -> Message:
            started = process_time()
            reply = session.handle(request)
            if not isinstance(request, Hello):
                self.seconds += process_time() - started
            return reply

        with InProcessChannel([handle]) as channel:
            yield channel

    def close(self) -> None:
        """Nothing was started."""


@dataclass
class _Samples:
    """Repetitions of one command, in milliseconds."""

    client: list[float] = field(default_factory=list)
    cloud: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)


def measure(latent: str, repeats: int) -> list[CommandCost]:
    """Runs each command in turn on a new vault, after one round that does not count."""
    with tempfile.TemporaryDirectory(prefix="sfumato-") as folder:
        clouds = _TimedClouds(Path(folder) / "cloud")
        vault = LatentVault(VaultFolder.make(Path(folder) / "vault"), clouds, process_time)
        _round(vault, clouds, SHAPES[latent], 0, {})
        samples: dict[str, _Samples] = {}
        for seed in range(repeats):
            _round(vault, clouds, SHAPES[latent], seed, samples)
    return [
        CommandCost(
            latent=latent,
            command=command,
            client_milliseconds=median(found.client),
            cloud_milliseconds=median(found.cloud),
            sent_bytes=found.cost.sent_bytes,
            received_bytes=found.cost.received_bytes,
            plain_milliseconds=median(found.plain) if found.plain else None,
        )
        for command, found in samples.items()
    ]


def _round(
    vault: LatentVault, clouds: _TimedClouds, shape: tuple[int, ...], seed: int, samples: dict[str, _Samples]
) -> None:
    generator = seeded_generator(seed)
    a, b, mark = (3 * torch.randn(1, *shape, generator=generator) for _ in range(3))
    mask, model = torch.rand(shape[1:], generator=generator), find_model("portraits")

    def timed(command: str, work: Callable[[], Cost], plain: Callable[[], Tensor] | None = None) -> None:
        found, clouds.seconds = samples.setdefault(command, _Samples()), 0.0
        found.cost = work()
        found.cloud.append(clouds.seconds * 1e3)
        found.client.append(found.cost.milliseconds - clouds.seconds * 1e3)
        if plain is not None:
            started = process_time()
            plain()
            found.plain.append((process_time() - started) * 1e3)

    timed("put", partial(vault.put, "a", a, model))
    vault.put("b", b, model)
    timed("blend", partial(vault.blend, "a", "b", mask, "blended"), lambda: mask * a + (1 - mask) * b)
    timed("interpolate", partial(vault.interpolate, "a", "b", 0.3, "mixed"), lambda: 0.3 * a + 0.7 * b)
    timed("watermark", partial(vault.add_mark, "a", mark[0], "marked"), lambda: a + mark)
    timed("get, put", lambda: vault.get("a")[1])
    timed("get, blended", lambda: vault.get("blended")[1])
    timed("drop", lambda: vault.drop("mixed")[1])
    for name in ("a", "b", "blended", "marked"):
        vault.drop(name)


def largest_errors(num_values: int) -> Errors:
    """Of latents three times as wide as noise, and a mask of random greys."""
    parameters = parameters_named(Vault().parameters)
    key, generator = SecretKey(parameters), seeded_generator(1)
    a, b = 3 * torch.randn(2, num_values, generator=generator, dtype=torch.float64)
    mask = torch.rand(num_values, generator=generator, dtype=torch.float64)
    num = parameters.num_ciphertexts(num_values)
    one, two = (Ciphertexts.from_bytes(key.encrypt(x), parameters, num_ciphertexts=num) for x in (a, b))
    blended, exact = one.subtract(two).multiply_each(mask).add(two), mask * a + (1 - mask) * b

    def largest(found: Tensor, wanted: Tensor) -> float:
        return float((found - wanted).abs().max())

    errors = Errors(
        put_error=largest(key.decrypt(one, num_values), a),
        blend_error=largest(key.decrypt(blended, num_values), exact),
        fetched_blend_error=largest(key.decrypt(blended, num_values, flood_bits=FLOOD_BITS), exact),
    )
    key.destroy()
    return errors


def _cost_table(costs: list[CommandCost], repeats: int) -> Table:
    table = Table(title=f"A vault's commands, processor time, medians of {repeats}", title_justify="left")
    table.add_column("latent")
    table.add_column("command")
    for heading in ("client, ms", "cloud, ms", "up, kB", "down, kB", "in the clear, us", "ratio"):
        table.add_column(heading, justify="right")
    for cost in costs:
        table.add_row(
            cost.latent,
            cost.command,
            f"{cost.client_milliseconds:.1f}",
            f"{cost.cloud_milliseconds:.1f}",
            f"{cost.sent_bytes / 1e3:.1f}",
            f"{cost.received_bytes / 1e3:.1f}",
            *_beside(cost.plain_milliseconds, cost.ratio),
        )
    return table


def _beside(plain: float | None, ratio: float | None) -> tuple[str, str]:
    return ("-", "-") if plain is None or ratio is None else (f"{plain * 1e3:.0f}", f"{ratio:.0f}")


def _error_table(errors: dict[str, Errors]) -> Table:
    table = Table(title="Largest error of a value", title_justify="left")
    for heading in ("latent", "put", "blended", f"blended, with noise of 2^{FLOOD_BITS} times the scheme's error"):
        table.add_column(heading)
    for latent, found in errors.items():
        table.add_row(latent, *(f"{value:.0e}" for value in asdict(found).values()))
    return table
