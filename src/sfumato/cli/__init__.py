"""The command line. Nothing here imports torch before a command needs it, so ``--help`` answers at once."""

import sys

from sfumato.cli.app import app
from sfumato.errors import SfumatoError


def main() -> None:
    """Runs ``sfumato``. Exit codes: 0, 1 a run failed, 2 wrong usage, 130 interrupted."""
    try:
        app()
    except SfumatoError as error:
        _fail(str(error), 1)
    except ValueError as error:
        _fail(str(error), 2)
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", 130)


def _fail(sentence: str, code: int) -> None:
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("[bold red]Error:[/]", end=" ")
    console.print(sentence, markup=False)
    sys.exit(code)
