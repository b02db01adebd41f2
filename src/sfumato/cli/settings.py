"""Help for a protocol's settings."""

import typer
from rich.console import Console
from rich.table import Table


def print_help(context: typer.Context, protocol: str | None) -> None:
    """Prints a command's help, and the settings of a protocol where one was named."""
    if text := context.get_help():
        typer.echo(text)
    if protocol is None:
        return
    from sfumato.protocols.settings import settings_of
    from sfumato.protocols.specs import find_spec

    table = Table(title=f"--set FIELD=VALUE for {protocol}", title_justify="left", show_header=False, show_lines=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for setting in settings_of(find_spec(protocol)):
        table.add_row(setting.name, f"{setting.help}\n{setting.values}; default {setting.default}")
    Console().print(table)
