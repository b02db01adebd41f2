"""``sfumato bench encryption``: what custody of a latent under CKKS costs a step, beside the update in the clear."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.table import Table

from sfumato.bench.written import Results
from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.randomness import seeded_generator

SHAPES = {"4 x 32 x 32": (4, 32, 32), "4 x 64 x 64": (4, 64, 64)}
PARAMETERS = ("sealed", "compact")


@dataclass(frozen=True, kw_only=True)
class StepOfCustody:
    """One step's encryption and addition; medians, in milliseconds."""

    latent: str
    parameters: str
    ciphertexts: int
    client_milliseconds: float
    """Encrypts and serialises the change."""
    cloud_milliseconds: float
    """Reads it and adds it."""
    fetch_milliseconds: float
    """Once a run, the client reads and decrypts."""
    sent_bytes: int
    """A step."""
    fetched_bytes: int
    """Once a run."""
    plain_milliseconds: float
    """The same addition in the clear, in fp32."""
    largest_error: float

    @property
    def ratio(self) -> float:
        """The client's time to encrypt, over that of the addition in the clear."""
        return self.client_milliseconds / self.plain_milliseconds


def bench_encryption(repeats: int, out: Path | None) -> None:
    """Measures every shape with every parameter set, in one thread, and prints a row each."""
    results = Results(folder=out, name="encryption")
    torch.set_num_threads(1)
    rows = [measure(latent, name, repeats) for latent in SHAPES for name in PARAMETERS]
    results.give([_row(row, repeats) for row in rows], _table(rows, repeats))


def measure(latent: str, parameters: str, repeats: int) -> StepOfCustody:
    """Times each part in turn, after one round that does not count."""
    chosen, size = parameters_named(parameters), prod(SHAPES[latent])
    key = SecretKey(chosen)
    change = torch.randn(size, generator=seeded_generator(1), dtype=torch.float64)
    number = chosen.num_ciphertexts(size)
    held = Ciphertexts.from_bytes(key.encrypt(change), chosen, num_ciphertexts=number)
    seconds: dict[str, list[float]] = {"client": [], "cloud": [], "fetch": [], "plain": []}

    def timed(part: str, work: Callable[[], Any]) -> Any:
        started = perf_counter()
        made = work()
        seconds[part].append(perf_counter() - started)
        return made

    def read(content: bytes) -> Ciphertexts:
        return Ciphertexts.from_bytes(content, chosen, num_ciphertexts=number)

    in_the_clear = change.float()
    for _ in range(repeats + 1):
        content = timed("client", partial(key.encrypt, change))
        answer = timed("cloud", partial(_read_and_add, read, held, content)).to_bytes()
        found = timed("fetch", partial(_read_and_decrypt, read, key, answer, size))
        timed("plain", partial(torch.add, in_the_clear, in_the_clear))
    error = float((found - 2 * change).abs().max())
    key.destroy()
    times = {part: median(values[1:]) * 1e3 for part, values in seconds.items()}
    return StepOfCustody(
        latent=latent,
        parameters=parameters,
        ciphertexts=number,
        client_milliseconds=times["client"],
        cloud_milliseconds=times["cloud"],
        fetch_milliseconds=times["fetch"],
        sent_bytes=len(content),
        fetched_bytes=len(answer),
        plain_milliseconds=times["plain"],
        largest_error=error,
    )


def _read_and_add(read: Callable[[bytes], Ciphertexts], held: Ciphertexts, content: bytes) -> Ciphertexts:
    return held.add(read(content))


def _read_and_decrypt(read: Callable[[bytes], Ciphertexts], key: SecretKey, answer: bytes, size: int) -> Any:
    return key.decrypt(read(answer), size)


def _row(row: StepOfCustody, repeats: int) -> dict[str, Any]:
    return {"bench": "encryption", "repeats": repeats, "ratio": row.ratio} | asdict(row)


def _table(rows: list[StepOfCustody], repeats: int) -> Table:
    table = Table(title=f"Custody of a latent, one step, one thread, medians of {repeats}", title_justify="left")
    table.add_column("latent")
    table.add_column("parameters")
    headings = ("ciphertexts", "client encrypts, ms", "cloud reads and adds, ms", "up, KiB", "once: down, KiB")
    for heading in (*headings, "once: decrypts, ms", "largest error", "in the clear, us", "client, ratio"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.latent,
            row.parameters,
            str(row.ciphertexts),
            f"{row.client_milliseconds:.1f}",
            f"{row.cloud_milliseconds:.1f}",
            f"{row.sent_bytes / 1024:.0f}",
            f"{row.fetched_bytes / 1024:.0f}",
            f"{row.fetch_milliseconds:.1f}",
            f"{row.largest_error:.0e}",
            f"{row.plain_milliseconds * 1e3:.0f}",
            f"{row.ratio:.0f}",
        )
    return table
