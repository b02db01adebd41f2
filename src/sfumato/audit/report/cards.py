"""What a report tells of one protocol: its claim, what clouds are shown, rows, curves and pictures."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sfumato.audit.leakage import Verdict
from sfumato.audit.report.curve_drawing import draw_curve
from sfumato.audit.report.curves import curves
from sfumato.audit.report.findings import Findings, Lack, Setting
from sfumato.audit.report.ranking import Headline
from sfumato.audit.report.reconstructions import Reconstructions, reconstructions
from sfumato.audit.report.wording import attack_words, clouds
from sfumato.audit.tables import Line
from sfumato.protocols.base import Spec

_SHORT = 24
"""Rows of a table that is shown unfolded."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Something that holds of some settings."""

    text: str
    settings: tuple[str, ...]
    """Empty where it holds of all that the card is about."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A reason, and who had nothing to work on for it."""

    reason: str
    attacks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SettingCard:
    """One setting."""

    name: str
    anchor: str
    seen: tuple[str, ...]
    rows: tuple[Line, ...]
    choices: tuple[Line, ...]
    """Those of the rows that chose among texts."""
    missing: tuple[Missing, ...]
    pictures: Reconstructions | None
    is_short: bool

    @property
    def counts(self) -> str:
        """How many rows say what."""
        told = [(sum(line.verdict is verdict for line in self.rows), verdict.value) for verdict in Verdict]
        return ", ".join(f"{number} {words}" for number, words in told if number)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A curve."""

    title: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class ProtocolCard:
    """One protocol."""

    name: str
    anchor: str
    claims: tuple[Sentence, ...]
    not_hidden: tuple[Sentence, ...]
    with_seed: tuple[Sentence, ...]
    settings: tuple[SettingCard, ...]
    drawings: tuple[Drawing, ...]


def cards(findings: Findings, columns: Sequence[Headline]) -> list[ProtocolCard]:
    """A card for each protocol, in the order of its settings."""
    anchors = {setting.name: f"setting-{place}" for place, setting in enumerate(findings.settings, start=1)}
    made: list[ProtocolCard] = []
    for protocol in dict.fromkeys(setting.protocol for setting in findings.settings):
        own = [setting for setting in findings.settings if setting.protocol == protocol]
        number = len(made) + 1
        drawn = curves([line for line in findings.lines if line.protocol == protocol], columns)
        made.append(
            ProtocolCard(
                name=protocol,
                anchor=f"protocol-{number}",
                claims=_sentences(own, lambda spec: (spec.claim,)),
                not_hidden=_sentences(own, lambda spec: spec.not_hidden),
                with_seed=_sentences(own, lambda spec: spec.not_hidden_with_seed),
                settings=tuple(_setting(findings, setting, anchors[setting.name]) for setting in own),
                drawings=tuple(
                    Drawing(title=curve.title, svg=draw_curve(curve, f"plot-{number}-{place}"))
                    for place, curve in enumerate(drawn)
                ),
            )
        )
    return made


def _sentences(settings: Sequence[Setting], told: Callable[[Spec], Iterable[str]]) -> tuple[Sentence, ...]:
    """Each sentence once, with the settings that it is about."""
    found: dict[str, list[str]] = {}
    for setting in settings:
        for text in () if setting.spec is None else told(setting.spec):
            found.setdefault(text, []).append(setting.name)
    return tuple(
        Sentence(text=text, settings=() if len(names) == len(settings) else tuple(names))
        for text, names in found.items()
    )


def _setting(findings: Findings, setting: Setting, anchor: str) -> SettingCard:
    rows = tuple(findings.of(setting.name))
    return SettingCard(
        name=setting.name,
        anchor=anchor,
        seen=() if setting.spec is None else tuple(_seen(setting.spec)),
        rows=rows,
        choices=tuple(line for line in rows if line.choice is not None),
        missing=tuple(_missing([lack for lack in findings.lacks if lack.setting == setting.name])),
        pictures=reconstructions(findings, setting.name),
        is_short=len(rows) <= _SHORT,
    )


def _seen(spec: Spec) -> Iterable[str]:
    """What each cloud is shown; clouds that are shown the like, apart from their own number, together."""
    shown: dict[str, list[int]] = {}
    for cloud in range(spec.num_clouds):
        words = re.sub(rf"\b{cloud + 1}\b", "#", spec.seen_by(cloud), count=1)
        shown.setdefault(words, []).append(cloud + 1)
    for words, numbers in shown.items():
        first = words.replace("#", str(numbers[0]))
        if len(numbers) == 1:
            yield f"Cloud {numbers[0]}: {first}"
        elif "#" in words:
            yield f"Cloud {numbers[0]}: {first}; and so on to cloud {numbers[-1]}"
        else:
            yield f"Clouds {', '.join(map(str, numbers))}: {first}"


def _missing(lacks: Sequence[Lack]) -> Iterable[Missing]:
    reasons: dict[str, dict[str, list[str]]] = {}
    for lack in lacks:
        attack = attack_words(lack.attack, lack.attack_settings)
        reasons.setdefault(lack.reason, {}).setdefault(attack, []).append(clouds(lack.clouds))
    for reason, attacks in reasons.items():
        yield Missing(
            reason=reason,
            attacks=tuple(f"{attack} ({'; '.join(coalitions)})" for attack, coalitions in attacks.items()),
        )
