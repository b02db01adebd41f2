"""A cut and a defence from measured rows: the least attack score among those that leave the task alone."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from sfumato.bench.defences import NAME
from sfumato.bench.defended_cell import DefendedCell, read_cells
from sfumato.errors import ExperimentError

ALLOWED_LOSS = 0.02
"""Of accuracy, below the target without a defence."""
_ROUNDED = 1e-9


def recommended(rows: Sequence[DefendedCell]) -> DefendedCell | None:
    """The cell of the least PSNR among those that keep the accuracy; of equal ones, that of the highest accuracy.

    Args:
        rows: of one target.

    Returns:
        None where every cell loses too much.
    """
    kept = [row for row in rows if row.task_accuracy >= row.undefended_accuracy - ALLOWED_LOSS - _ROUNDED]
    return min(kept, key=lambda row: (row.psnr, -row.task_accuracy), default=None)


def measured_rows(target: str, folder: Path | None) -> list[DefendedCell]:
    """Rows of a target.

    Args:
        target: bundled name, folder or hub name, as the bench was given it.
        folder: that the bench wrote; None for those that come with the package.

    Raises:
        ValueError: there are none of this target; says which command makes them.
        ExperimentError: the file is damaged.
    """
    name = Path(target).name if Path(target).is_dir() else target
    text = _shipped() if folder is None else _read(folder / f"{NAME}.jsonl")
    rows = [row for row in read_cells(text) if row.target == name]
    if not rows:
        where = "come with the package" if folder is None else f"are in {folder}"
        raise ValueError(
            f"no measured rows of {name} {where}: make them with "
            f"'sfumato bench defences --target {target} --out ROWS', and then name the folder with --rows ROWS"
        )
    return rows


def _shipped() -> str:
    return (files("sfumato.bench") / "measured" / f"{NAME}.jsonl").read_text()


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{file} cannot be read: run 'sfumato bench defences' again") from error
