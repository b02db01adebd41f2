"""What a report is made from: the rows of an audit's folder, in the order that people read them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sfumato.attacks.guesses import Secret
from sfumato.audit.leakage import Verdict
from sfumato.audit.report.wording import metric_order, size_of
from sfumato.audit.rows import PanelRow
from sfumato.audit.store import Store
from sfumato.audit.tables import Line, lines
from sfumato.errors import ExperimentError, SpecMismatch
from sfumato.protocols.base import Spec
from sfumato.protocols.specs import SPECS, find_spec

_MANY = 50
_MANY_SLOW = 20
_MADE_WITH = (
    "setting",
    "model",
    "model_fingerprint",
    "num_inference_steps",
    "guidance_scale",
    "scheduler",
    "sfumato",
    "commit",
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One protocol with its settings."""

    name: str
    protocol: str
    spec_json: str
    spec: Spec | None
    """None where this version does not know it any more."""


@dataclass(frozen=True, kw_only=True)
class Lack:
    """An attack by a coalition that was not shown what it works on."""

    setting: str
    clouds: str
    attack: str
    attack_settings: str
    secret: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A whole audit."""

    settings: tuple[Setting, ...]
    """In the catalog's order of protocols, then by variant and number of clouds."""
    lines: tuple[Line, ...]
    lacks: tuple[Lack, ...]
    panels: tuple[PanelRow, ...]
    made_with: tuple[dict[str, Any], ...]
    """Model, steps and the like of each setting's rows; one entry a setting where its rows are alike."""

    def of(self, setting: str) -> list[Line]:
        """Lines of one setting."""
        return [line for line in self.lines if line.setting == setting]

    def count(self, verdict: Verdict) -> int:
        """How many lines say so."""
        return sum(line.verdict is verdict for line in self.lines)

    @property
    def tried(self) -> list[Line | Lack]:
        """Lines, and attacks that lacked something."""
        return [*self.lines, *self.lacks]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before comparing rows, a sentence each."""
        return tuple(_warnings(self))


def read_findings(out: Path) -> Findings:
    """Reads an audit's folder.

    Raises:
        ExperimentError: nothing was audited there, or a file is damaged.
    """
    store = Store.of(out)
    rows, lacks = store.rows.read(), store.lacks.read()
    if rows.is_empty() and lacks.is_empty():
        raise ExperimentError(f"{out} holds no rows of an audit: run 'sfumato audit' with --out {out} first")
    kinds = ["setting", "protocol", "spec"]
    audited = rows.filter(~pl.col("is_control")).select(kinds)
    settings = [
        Setting(name=name, protocol=protocol, spec_json=spec, spec=_spec(protocol, spec))
        for name, protocol, spec in pl.concat([audited, lacks.select(kinds)]).unique().iter_rows()
    ]
    settings.sort(key=_order)
    place = {setting.name: number for number, setting in enumerate(settings)}
    return Findings(
        settings=tuple(settings),
        lines=tuple(sorted(lines(rows), key=lambda line: _line_order(place, line))),
        lacks=_lacks(lacks, place),
        panels=tuple(PanelRow(**row) for row in _panels(store.panels.read(), place)),
        made_with=tuple(
            rows.filter(~pl.col("is_control")).select(_MADE_WITH).unique().sort(_MADE_WITH).iter_rows(named=True)
        ),
    )


def _spec(protocol: str, text: str) -> Spec | None:
    try:
        return find_spec(protocol).from_json(text)
    except (SpecMismatch, ValueError):
        return None


def _order(setting: Setting) -> tuple[int, str, int, str]:
    known = list(SPECS)
    fields = json.loads(setting.spec_json)
    number = int(fields.pop("num_clouds", 1))
    return (
        known.index(setting.protocol) if setting.protocol in known else len(known),
        " ".join(word for word in setting.name.split(" ") if not word.startswith("num_clouds=")),
        number,
        json.dumps(fields, sort_keys=True),
    )


def _line_order(place: dict[str, int], line: Line) -> tuple[Any, ...]:
    coalition = (size_of(line.clouds), line.clouds)
    secrets = [secret.value for secret in Secret]
    secret = secrets.index(line.secret) if line.secret in secrets else len(secrets)
    return (
        place[line.setting],
        secret,
        line.secret,
        metric_order(line.metric),
        line.metric,
        line.attack,
        line.attack_settings,
        *coalition,
    )


def _lacks(found: pl.DataFrame, place: dict[str, int]) -> tuple[Lack, ...]:
    names = ["setting", "clouds", "attack", "attack_settings", "secret", "reason"]
    made = [Lack(**row) for row in found.select(names).unique().iter_rows(named=True)]
    return tuple(sorted(made, key=lambda each: (place[each.setting], each.attack, each.attack_settings, each.clouds)))


def _panels(found: pl.DataFrame, place: dict[str, int]) -> list[dict[str, Any]]:
    """Those of audited settings, a secret once: a positive control repeats what is audited besides."""
    key = ["setting", "clouds", "attack", "attack_settings", "number"]
    wanted = found.filter(pl.col("setting").is_in(list(place))).unique(key, keep="first")
    return wanted.sort("number").to_dicts()


def _warnings(findings: Findings) -> list[str]:
    found = []
    for name, words in (("model_fingerprint", "models"), ("sfumato", "versions of sfumato"), ("commit", "commits")):
        values = {row[name] for row in findings.made_with}
        if len(values) > 1:
            found.append(f"Rows are of {len(values)} {words}: compare only those that are alike.")
    if any("+" in (row["commit"] or "") for row in findings.made_with):
        found.append("Some rows were made with files that differ from their commit.")
    few = [line for line in findings.lines if line.row.num_secrets < _MANY_SLOW]
    fewer = [line for line in findings.lines if _MANY_SLOW <= line.row.num_secrets < _MANY]
    if few:
        found.append(
            f"{len(few)} of {len(findings.lines)} rows rest on fewer than {_MANY_SLOW} secrets: "
            "their intervals are wide, and somewhat too narrow for what they are."
        )
    if fewer:
        found.append(f"{len(fewer)} of {len(findings.lines)} rows rest on {_MANY_SLOW} to {_MANY - 1} secrets.")
    known = {each.setting for each in findings.tried}
    if single := [setting.name for setting in findings.settings if setting.name not in known]:
        found.append(
            f"{', '.join(single)}: a single secret says nothing of the next one, so there are no rows; take more."
        )
    if failed := findings.count(Verdict.INCONCLUSIVE):
        found.append(f"{failed} of {len(findings.lines)} rows are inconclusive: they say nothing, either way.")
    if unknown := [setting.name for setting in findings.settings if setting.spec is None]:
        found.append(f"This version does not know {', '.join(unknown)}: their claims are not told.")
    return found
