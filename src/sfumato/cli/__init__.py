"""The command line. Nothing here imports torch before a command needs it, so ``--help`` answers at once."""

import os
import sys
from typing import Any

import typer

from sfumato.cli.app import app
from sfumato.errors import SfumatoError
from sfumato.transport.allocator import keep_large_buffers

# typer exports the classes below this one only.
_Misuse: Any = typer.BadParameter.__base__
_INTERRUPTED = 130


def main() -> None:
    """Runs ``sfumato``. Exit codes: 0, 1 a run failed, 2 wrong usage, 130 interrupted."""
    # Read when torch is loaded: idle threads that spin take the cores from clouds on the same machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # numpy's products here are small, and thousands of them: threads cost more than they save.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    keep_large_buffers()
    try:
        code = app(standalone_mode=False)
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code or 0)
    except _Misuse as error:
        _explain(error)
    except SfumatoError as error:
        _fail(str(error), 1)
    except ValueError as error:
        _fail(str(error), 2)
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", _INTERRUPTED)


def _explain(error: Any) -> None:
    """Help where a command was named without anything else, and one sentence otherwise."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(error.exit_code)
    if "unexpected extra argument" in error.format_message():
        _fail("there are words outside the quotes: put a text of several words in quotes, and check the options", 2)
    where = f" (see '{error.ctx.command_path} --help')" if error.ctx else ""
    _fail(f"{error.format_message().rstrip('.')}{where}", 2)


def _fail(sentence: str, code: int) -> None:
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("[bold red]Error:[/]", end=" ")
    console.print(sentence, markup=False)
    sys.exit(code)
