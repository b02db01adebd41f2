"""Specs from ``FIELD=VALUE`` text, and their fields as text: one source for the command line and its help."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, NamedTuple, get_args, get_origin

from sfumato.protocols.base import Spec


class Setting(NamedTuple):
    """One field of a spec, as help shows it."""

    name: str
    values: str
    default: str
    help: str


def settings_of(kind: type[Any]) -> list[Setting]:
    """Every field of a spec, or of a dataclass that declares its fields alike: values, default and explanation."""
    return [
        Setting(f.name, _values(f.type), _text(f.default), str(f.metadata.get("help", "")))
        for f in fields(kind)
        if f.default is not MISSING
    ]


def parse_spec(kind: type[Spec], pairs: Iterable[str], num_clouds: int | None = None) -> Spec:
    """Builds a spec from ``FIELD=VALUE`` pairs; sets are comma-separated.

    Raises:
        ValueError: an unknown field, a value that is not one of the field's, or numbers of clouds that disagree.
    """
    return kind(**parse_values(kind.name, kind, pairs, {} if num_clouds is None else {"num_clouds": num_clouds}))


def parse_values(name: str, kind: type[Any], pairs: Iterable[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Reads ``FIELD=VALUE`` pairs as values of a dataclass's fields.

    Args:
        name: of what has the settings, for messages.
        kind: a dataclass.
        pairs: as the user wrote them.
        given: values that were set otherwise.

    Raises:
        ValueError: an unknown field, a value that is not one of the field's, or one given twice.
    """
    known = {f.name: f for f in fields(kind)}
    values = dict(given)
    for pair in pairs:
        field_name, equals, text = pair.partition("=")
        if not equals or field_name not in known:
            raise ValueError(f"{name} has no setting {field_name!r}: write FIELD=VALUE with one of {', '.join(known)}")
        value = _parse(known[field_name], text)
        if values.get(field_name, value) != value:
            raise ValueError(f"{field_name} is given twice, as {_text(values[field_name])} and {text}: give it once")
        values[field_name] = value
    return values


def _parse(field: "Field[Any]", text: str) -> Any:
    kind = field.type
    if get_origin(kind) is frozenset:
        return frozenset(part.strip() for part in text.split(",") if part.strip())
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{field.name} must be true or false, got {text!r}")
        return text.lower() == "true"
    if kind in (int, float) and isinstance(kind, type):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{field.name} must be a number, got {text!r}") from None
    return text


def _values(annotation: Any) -> str:
    if get_origin(annotation) is frozenset:
        return "any of " + ", ".join(get_args(get_args(annotation)[0]))
    if get_origin(annotation) is Literal:
        return " | ".join(get_args(annotation))
    return getattr(annotation, "__name__", str(annotation))


def _text(value: object) -> str:
    return ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)
