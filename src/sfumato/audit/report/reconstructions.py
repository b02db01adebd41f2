"""Pictures that people can judge: the truth, the prior alone, and the guess, side by side."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from sfumato.audit.report.findings import Findings
from sfumato.audit.report.ranking import worst
from sfumato.audit.report.wording import attack_words, clouds, interval, signed, size_of
from sfumato.audit.rows import PanelRow
from sfumato.audit.tables import Line

_QUALITY = 88


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """A column: one attack by one coalition."""

    attack: str
    clouds: str
    leakage: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Person:
    """A row: data URIs of WebP pictures."""

    number: int
    """From 1."""
    truth: str
    pairs: tuple[tuple[str, str] | None, ...]
    """Prior only and guess, for each column; None where it was not kept."""


@dataclass(frozen=True, kw_only=True)
class Reconstructions:
    """Of one setting."""

    columns: tuple[Guesses, ...]
    people: tuple[Person, ...]


def reconstructions(findings: Findings, setting: str) -> Reconstructions | None:
    """The pictures of one setting: of each attack and coalition size, those of the largest PSNR leakage.

    Returns:
        None where no picture was kept.
    """
    panels = {
        (panel.attack, panel.attack_settings, panel.clouds, panel.number): panel
        for panel in findings.panels
        if panel.setting == setting
    }
    chosen = _chosen(findings.of(setting), {key[:3] for key in panels})
    numbers = sorted({number for *_, number in panels})
    if not chosen:
        return None
    people = []
    for number in numbers:
        own = [panels.get((line.attack, line.attack_settings, line.clouds, number)) for line in chosen]
        truth = next((panel.truth for panel in own if panel is not None), None)
        if truth is not None:
            people.append(Person(number=number + 1, truth=_uri(truth), pairs=tuple(map(_pair, own))))
    return Reconstructions(columns=tuple(map(_column, chosen)), people=tuple(people))


def _chosen(rows: Sequence[Line], kept: set[tuple[str, str, str]]) -> list[Line]:
    groups: dict[tuple[str, int], list[Line]] = {}
    for line in rows:
        if line.metric == "psnr" and (line.attack, line.attack_settings, line.clouds) in kept:
            groups.setdefault((line.attack, size_of(line.clouds)), []).append(line)
    return [found for group in groups.values() if (found := worst(group)) is not None]


def _column(line: Line) -> Guesses:
    return Guesses(
        attack=attack_words(line.attack, line.attack_settings),
        clouds=clouds(line.clouds),
        leakage=f"{signed(line.row.leakage, line.metric)} dB ({interval(line.row.interval, line.metric)})",
        verdict=line.verdict.value,
    )


def _pair(panel: PanelRow | None) -> tuple[str, str] | None:
    return None if panel is None else (_uri(panel.prior_only), _uri(panel.guess))


def _uri(png: bytes) -> str:
    stream = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(stream, format="WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
