"""Finished pictures, a row each, in Parquet files that are whole or absent."""

import io
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from sfumato.errors import ExperimentError
from sfumato.files import write_whole

_STALE_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """One finished picture and everything that it came from."""

    case: str
    reference: str | None
    """The unsplit picture that it is compared with; None if it is unsplit itself."""
    model: str
    model_fingerprint: str
    prompt_set: str
    prompt_index: int
    prompt: str
    seed: int
    protocol: str
    spec: str
    """Canonical JSON."""
    num_clouds: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    height: int
    width: int
    batch_size: int
    """Pictures that were computed together; they share the figures below evenly."""
    seconds: float
    sent_bytes: float
    received_bytes: float
    rounds: int
    """Of the whole batch."""
    sfumato: str
    commit: str | None
    torch: str
    device: str
    picture: bytes
    """PNG."""


Row = TypeVar("Row")


class RowStore(Generic[Row]):
    """A folder of Parquet files, one for each batch that was added.

    A file appears whole or not at all, so a sweep that is killed keeps every finished batch and nothing else. Several
    processes, on several machines, may add to one folder.
    """

    def __init__(self, folder: Path, kind: type[Row]):
        self._folder = folder
        self._schema = pl.Schema({f.name: _COLUMN[f.type] for f in fields(kind)})  # type: ignore[arg-type]
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob(".*.partial"):
            if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
                partial.unlink(missing_ok=True)

    def finished(self) -> set[str]:
        """Cases that have a row."""
        return set(self.read(["case"])["case"])

    def add(self, rows: Sequence[Row]) -> None:
        """Adds the rows of one batch.

        Raises:
            ExperimentError: the disk is full or the folder cannot be written; rows added before are not touched.
        """
        frame = pl.DataFrame([asdict(r) for r in rows], schema=self._schema)  # type: ignore[call-overload]
        name = f"{frame['case'][0]}-{len(frame)}.parquet"
        try:
            write_whole(self._folder / name, lambda stream: frame.write_parquet(stream, compression="zstd"))
        except OSError as error:
            raise ExperimentError(
                f"rows could not be written to {self._folder}: {error.strerror or error}; everything finished before "
                "is kept: make room and run the same command again"
            ) from error

    def read(self, columns: Sequence[str] | None = None, *, without: Iterable[str] = ()) -> pl.DataFrame:
        """All rows, a case once, ordered by case.

        Raises:
            ExperimentError: a file is damaged.
        """
        wanted = [c for c in (columns or self._schema.names()) if c not in set(without)]
        frames = [_read(file, wanted) for file in self._files()]
        whole = pl.concat([pl.DataFrame(schema={c: self._schema[c] for c in wanted}), *frames])
        return whole.unique("case", keep="first").sort("case")

    def places(self) -> dict[str, Path]:
        """The file that each case is in."""
        return {case: file for file in self._files() for case in _read(file, ["case"])["case"]}

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))


_COLUMN: dict[Any, Any] = {
    str: pl.String,
    str | None: pl.String,
    int: pl.Int64,
    bool: pl.Boolean,
    float: pl.Float64,
    float | None: pl.Float64,
    bytes: pl.Binary,
    list[float]: pl.List(pl.Float32),
}


def read_pictures(cases: Sequence[str], places: Mapping[str, Path]) -> NDArray[np.uint8]:
    """The pictures of some cases, (batch, height, width, 3), in their order; all must have one size."""
    found: dict[str, bytes] = {}
    for file in {places[case] for case in cases}:
        found.update(_read(file, ["case", "picture"]).iter_rows())
    return np.stack([from_png(found[case]) for case in cases])


def _read(file: Path, columns: list[str]) -> pl.DataFrame:
    try:
        return pl.read_parquet(file, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ExperimentError(
            f"{file} is damaged or was written by another version: take it away, and the same command makes its rows "
            "again"
        ) from error


def as_png(picture: NDArray[np.uint8]) -> bytes:
    """Packs a picture (height, width, 3) without loss."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()


def from_png(packed: bytes) -> NDArray[np.uint8]:
    """Unpacks what :func:`as_png` packed."""
    return np.asarray(Image.open(io.BytesIO(packed)).convert("RGB"))
