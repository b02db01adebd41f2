"""The page: one file that needs no script, no network and no other file."""

import json
from collections import defaultdict
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sfumato.audit.leakage import Verdict
from sfumato.audit.report import wording
from sfumato.audit.report.cards import cards
from sfumato.audit.report.findings import Findings
from sfumato.audit.report.interval_glyphs import WIDTH, Glyph, Scale
from sfumato.audit.report.methods import methods
from sfumato.audit.report.ranking import headlines, matrix
from sfumato.audit.tables import Line

_HERE = "sfumato.audit.report"
_LABELS = {
    "model": "Model",
    "model_fingerprint": "Its fingerprint",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "scheduler": "Scheduler",
    "sfumato": "sfumato",
    "commit": "Commit",
}
_FINGERPRINT = 16


def page(findings: Findings) -> str:
    """The whole report as HTML."""
    environment = Environment(
        loader=PackageLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=wording.number,
        signed=wording.signed,
        interval=wording.interval,
        measure=wording.measure,
        clouds=wording.clouds,
        why=wording.why_inconclusive,
        settings=lambda told: json.dumps(told, sort_keys=True)[1:-1].replace('"', ""),
        bits=wording.bits,
        svg=Markup,
        breakable=lambda text: Markup("=<wbr>").join(text.split("=")),
    )
    columns = headlines(findings)
    protocols = cards(findings, columns)
    return environment.get_template("report.html").render(
        style=Markup((files(_HERE) / "templates" / "report.css").read_text()),
        findings=findings,
        made_with=_made_with(findings),
        columns=columns,
        matrix=matrix(findings, columns),
        anchors={card.name: card.anchor for protocol in protocols for card in protocol.settings},
        protocols=protocols,
        methods=methods(findings),
        metrics=_metrics(findings),
        verdicts=[(verdict, wording.verdict_meaning(verdict), findings.count(verdict)) for verdict in Verdict],
        together=wording.together,
        attack_words=wording.attack_words,
        glyph=_glyphs(findings),
        glyph_width=WIDTH,
    )


def _made_with(findings: Findings) -> list[tuple[str, str]]:
    told = []
    for name, label in _LABELS.items():
        values = dict.fromkeys(str(row[name]) for row in findings.made_with if row[name] is not None)
        if name == "model_fingerprint":
            values = dict.fromkeys(value[:_FINGERPRINT] for value in values)
        if values:
            told.append((label, ", ".join(values)))
    return told


def _metrics(findings: Findings) -> list[tuple[str, str, str]]:
    """Every metric of the audit: label, unit, meaning."""
    known = {line.metric: wording.measure(line.metric) for line in findings.lines}
    return [(told.label, told.unit, told.meaning) for told in known.values()]


def _glyphs(findings: Findings) -> Any:
    rows: dict[str, list[Line]] = defaultdict(list)
    for line in findings.lines:
        rows[line.metric].append(line)
    scales = {metric: Scale.of(own) for metric, own in rows.items()}

    def glyph(line: Line) -> Glyph:
        return scales[line.metric].glyph(line)

    return glyph
