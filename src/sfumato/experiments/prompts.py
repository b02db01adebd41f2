"""Prompt sets from CSV files with the columns ``prompt`` and ``evaluation_seed``."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

COLUMNS = ("prompt", "evaluation_seed")
_LARGEST_SEED = 2**63


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt of a set, with the seed of its picture."""

    index: int
    """Its place in the files, from 0."""
    text: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class PromptSet:
    """A named set of prompts, in the order in which a sweep takes them.

    The order is shuffled once and for all by the name and the place of each prompt, so that the first k prompts are
    a sample of the whole set, and not its first file.
    """

    name: str
    prompts: tuple[Prompt, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over texts and seeds, as hexadecimal."""
        digest = hashlib.sha256()
        for prompt in self.prompts:
            digest.update(f"{prompt.index}\t{prompt.seed}\t{prompt.text}\n".encode())
        return digest.hexdigest()


def read_prompt_set(name: str, files: list[Path]) -> PromptSet:
    """Reads a prompt set from one CSV file or several.

    Raises:
        ValueError: a file cannot be read, lacks a column or has a damaged row, or the set is empty.
    """
    rows = [row for file in files for row in _rows(file)]
    if not rows:
        raise ValueError(f"prompt set {name!r} is empty: {', '.join(map(str, files))} hold no row below the header")
    prompts = [Prompt(index=i, text=text, seed=seed) for i, (text, seed) in enumerate(rows)]
    return PromptSet(name=name, prompts=tuple(sorted(prompts, key=lambda p: _place(name, p.index))))


def _place(name: str, index: int) -> str:
    return hashlib.sha256(f"{name}:{index}".encode()).hexdigest()


def _rows(file: Path) -> Iterator[tuple[str, int]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
                raise ValueError(
                    f"{file} has no column {' and no column '.join(missing)}: its first line must name the columns "
                    f"{' and '.join(COLUMNS)}"
                )
            for row in reader:
                yield _row(row, f"{file}, line {reader.line_num}")
    except OSError as error:
        raise ValueError(f"prompts cannot be read from {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a text file in UTF-8: save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{file} cannot be read as CSV: {error}") from error


def _row(row: dict[str, str | None], where: str) -> tuple[str, int]:
    text, seed = ((row[column] or "").strip() for column in COLUMNS)
    if not text:
        raise ValueError(f"{where}: the prompt is empty; fill it in or take the row out")
    if not seed.isascii() or not seed.isdecimal() or int(seed) >= _LARGEST_SEED:
        raise ValueError(f"{where}: evaluation_seed must be a whole number in [0, 2**63), got {seed[:40]!r}")
    return text, int(seed)
