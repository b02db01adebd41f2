"""A protocol's settings in ``--help``.

Stand-in: the first version of this file was overwritten by mistake; rebuilt from its one use in ``generate.py``.
"""

import typer


def print_help(context: typer.Context, protocol: str | None) -> None:
    """Prints a command's help, then the settings of a protocol where one was named."""
    from rich.console import Console
    from rich.table import Table

    from sfumato.protocols.settings import settings_of
    from sfumato.protocols.specs import find_spec

    typer.echo(context.get_help())
    if protocol is None:
        return
    table = Table("field", "values", "default", "meaning", title=f"--set for {protocol}", title_justify="left")
    for setting in settings_of(find_spec(protocol)):
        table.add_row(*setting)
    Console().print(table)
