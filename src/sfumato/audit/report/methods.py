"""How each attack works, in the words of its own module."""

import json
import sys
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

from sfumato.attacks.base import Attack
from sfumato.attacks.catalog import ATTACKS
from sfumato.audit.plan import setting_name
from sfumato.audit.report.findings import Findings
from sfumato.errors import SfumatoError


@dataclass(frozen=True, kw_only=True)
class Method:
    """One attack with the settings that it was tried with."""

    name: str
    secret: str
    settings: dict[str, Any]
    about: str
    """Empty for an attack that this version does not know."""
    needs: str
    prior: str
    """What it guesses without the transcript."""
    source: str
    control: str
    """The setting where nothing is hidden from it."""
    is_slow: bool


def methods(findings: Findings) -> list[Method]:
    """Every attack of an audit, by name and settings, those that lacked something included."""
    told = {(each.attack, each.attack_settings, each.secret) for each in findings.tried}
    return [_method(name, json.loads(settings), secret) for name, settings, secret in sorted(told)]


def _method(name: str, settings: dict[str, Any], secret: str) -> Method:
    kind = ATTACKS.get(name)
    return Method(
        name=name,
        secret=secret,
        settings=settings,
        about=_first(getdoc(kind)),
        needs="" if kind is None else kind.needs,
        prior="" if kind is None else _first(getdoc(kind.prior)),
        source="" if kind is None else _source(kind),
        control="" if kind is None else _control(kind, settings),
        is_slow=kind is not None and kind.is_slow,
    )


def _first(text: str | None) -> str:
    """The first paragraph, as one line."""
    return " ".join((text or "").split("\n\n")[0].split()).replace("``", "")


def _source(kind: type[Attack]) -> str:
    """The paragraph of its module, or of the class itself, that begins with ``Source:``."""
    for text in (sys.modules[kind.__module__].__doc__, kind.__doc__):
        for paragraph in (text or "").split("\n\n"):
            if paragraph.strip().startswith("Source:"):
                return _first(paragraph.strip().removeprefix("Source:"))
    return ""


def _control(kind: type[Attack], settings: dict[str, Any]) -> str:
    try:
        return setting_name(kind(**settings).control())
    except (TypeError, ValueError, SfumatoError):
        return ""
