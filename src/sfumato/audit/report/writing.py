"""Writes what an audit hands on."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from sfumato.audit.report.findings import read_findings
from sfumato.errors import Unsupported
from sfumato.files import write_whole


def write_report(out: Path) -> list[Path]:
    """Reads an audit's folder, and writes ``report.html``, ``report.json`` and ``rows.jsonl`` into it.

    Returns:
        The files.

    Raises:
        ExperimentError: nothing was audited there, or a file is damaged.
        Unsupported: a library is missing.
    """
    if missing := [module for module in ("jinja2", "matplotlib") if find_spec(module) is None]:
        raise Unsupported(f"the report of an audit needs {' and '.join(missing)}: pip install 'sfumato[audit]'")
    from sfumato.audit.report.as_json import as_json, worst_as_json
    from sfumato.audit.report.page import page

    findings = read_findings(out)
    written = {
        "report.html": page(findings),
        "report.json": json.dumps(as_json(findings), indent=1, allow_nan=False) + "\n",
        "rows.jsonl": "".join(json.dumps(row, allow_nan=False) + "\n" for row in worst_as_json(findings)),
    }
    for name, text in written.items():
        _write(out / name, text)
    return [out / name for name in written]


def _write(path: Path, text: str) -> None:
    def put(stream: IO[bytes]) -> None:
        stream.write(text.encode())

    write_whole(path, put)
