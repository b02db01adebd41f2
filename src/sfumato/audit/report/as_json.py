"""The report as plain JSON values; ``docs/audit.md`` tells its fields, which are stable."""

from dataclasses import asdict
from typing import Any

from sfumato.audit.report.findings import Findings, Setting
from sfumato.audit.report.methods import methods
from sfumato.audit.report.ranking import worst_rows
from sfumato.version import VERSION

FORMAT = 1


def as_json(findings: Findings) -> dict[str, Any]:
    """Everything that the page tells, pictures apart."""
    return {
        "format": FORMAT,
        "sfumato": VERSION,
        "made_with": [dict(row) for row in findings.made_with],
        "settings": [_setting(setting) for setting in findings.settings],
        "attacks": [asdict(method) for method in methods(findings)],
        "lines": [line.to_dict() for line in findings.lines],
        "worst": [findings.lines.index(line) for line in worst_rows(findings.lines)],
        "lacks": [asdict(lack) for lack in findings.lacks],
        "warnings": list(findings.warnings),
    }


def worst_as_json(findings: Findings) -> list[dict[str, Any]]:
    """The worst rows alone, each with what it was made with: what a package ships of an audit."""
    made_with = {row["setting"]: row for row in reversed(findings.made_with)}
    return [{**line.to_dict(), "made_with": made_with[line.setting]} for line in worst_rows(findings.lines)]


def _setting(setting: Setting) -> dict[str, Any]:
    spec = setting.spec
    return {
        "setting": setting.name,
        "protocol": setting.protocol,
        "spec": None if spec is None else spec.to_dict(),
        "claim": None if spec is None else spec.claim,
        "not_hidden": [] if spec is None else list(spec.not_hidden),
        "not_hidden_with_seed": [] if spec is None else list(spec.not_hidden_with_seed),
        "seen_by": [] if spec is None else [spec.seen_by(cloud) for cloud in range(spec.num_clouds)],
    }
