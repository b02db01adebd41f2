"""The audit that comes with the package: which of its rows are about a run that is made now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from sfumato.protocols.base import Spec

Row = Mapping[str, Any]
"""A line of ``measured/rows.jsonl``: the fields of ``audit.tables.Line``, and ``made_with``."""


@dataclass(frozen=True, kw_only=True)
class MadeNow:
    """The run that is asked about."""

    spec: Spec
    model_fingerprint: str
    num_inference_steps: int


def told_by_audit(runs: Sequence[MadeNow], rows: Sequence[Row] | None = None) -> dict[str, Any]:
    """What a report says of the shipped audit: its rows, each with how the run differs, and one sentence about them.

    Args:
        runs: the protocols that clouds of one run followed.
        rows: of an audit; None for those that come with the package.
    """
    known = _shipped() if rows is None else rows
    found, about = [], []
    for run in runs:
        own, sentence = _about(run, known)
        found += own
        about.append(sentence)
    return {"audit": found, "audit_about": " ".join(dict.fromkeys(about))}


def _about(run: MadeNow, known: Sequence[Row]) -> tuple[list[dict[str, Any]], str]:
    name = run.spec.name
    own = [row for row in known if row["protocol"] == name]
    if not known:
        return [], "No audit comes with this version of sfumato."
    if not own:
        return [], f"The shipped audit has no rows of {name}."
    asked = _plain(run.spec.to_dict())
    fitting = [row for row in own if all(row["spec"].get(f) == asked.get(f) for f in _varied(own))]
    if not fitting:
        settings = "; ".join(dict.fromkeys(row["setting"] for row in own))
        return [], f"The shipped audit has no setting of {name} like this one; it measured: {settings}."
    told = [{**row, "differs": _differs(run, asked, row)} for row in fitting]
    differs = sorted({field for row in told for field in row["differs"]})
    setting = fitting[0]["setting"]
    if not differs:
        return told, f"Measured with {setting}, as here; not on this run."
    return told, f"Measured with {setting}, not on this run, which differs in {', '.join(differs)}."


def _varied(rows: Sequence[Row]) -> set[str]:
    """Fields of the spec that the audit set out to compare."""
    names = {name for row in rows for name in row["spec"]}
    return {name for name in names if len({json.dumps(row["spec"].get(name)) for row in rows}) > 1}


def _differs(run: MadeNow, asked: Mapping[str, Any], row: Row) -> list[str]:
    made, spec = row["made_with"], row["spec"]
    found = [f"spec.{name}" for name in sorted({*asked, *spec}) if asked.get(name) != spec.get(name)]
    if made["model_fingerprint"] != run.model_fingerprint:
        found.append("model")
    if made["num_inference_steps"] != run.num_inference_steps:
        found.append("steps")
    return found


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON keeps them."""
    return json.loads(json.dumps(fields))


@cache
def _shipped() -> tuple[Row, ...]:
    text = (files("sfumato.audit") / "measured" / "rows.jsonl").read_text()
    return tuple(json.loads(line) for line in text.splitlines())
