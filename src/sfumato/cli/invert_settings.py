"""Settings of inversion methods: as help, and from ``--set``."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from rich.table import Table

from sfumato.cli.wide import print_wide

if TYPE_CHECKING:
    from sfumato.attacks.inversion.method import InversionMethod


def print_settings(name: str) -> None:
    """Shows every field of a method or a defence.

    Raises:
        ValueError: no such one.
    """
    from sfumato.attacks.inversion.catalog import find_method
    from sfumato.defences.catalog import DEFENCES
    from sfumato.protocols.settings import settings_of

    table = Table("field", "values", "default", "what", title=f"--set FIELD=VALUE for {name}", title_justify="left")
    for setting in settings_of(DEFENCES.get(name) or find_method(name)):
        if setting.name != "seed":
            table.add_row(setting.name, setting.values, setting.default, setting.help)
    print_wide([table])


def methods_from(names: Sequence[str], pairs: Sequence[str], seed: int) -> "list[InversionMethod]":
    """Makes the chosen methods; each takes those of the settings that it has.

    Raises:
        ValueError: an unknown method, a setting that none of them has, or a value that cannot be.
    """
    from sfumato.attacks.inversion.catalog import find_method

    kinds = [find_method(name) for name in names]
    known = {kind.name: [each.name for each in fields(kind) if each.name != "seed"] for kind in kinds}
    for pair in pairs:
        name, equals, _ = pair.partition("=")
        if not equals or not any(name in own for own in known.values()):
            every = dict.fromkeys(field for own in known.values() for field in own)
            raise ValueError(
                f"{' and '.join(known)} {'has' if len(known) == 1 else 'have'} no setting {name!r}: "
                f"write FIELD=VALUE with one of {', '.join(every)}"
            )
    return [_made(kind, [pair for pair in pairs if pair.partition("=")[0] in known[kind.name]], seed) for kind in kinds]


def _made(kind: "type[InversionMethod]", pairs: Sequence[str], seed: int) -> "InversionMethod":
    from sfumato.protocols.settings import parse_values

    return kind(**parse_values(kind.name, kind, pairs, {"seed": seed}))
