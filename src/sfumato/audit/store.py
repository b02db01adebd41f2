"""The folders of one audit."""

from dataclasses import dataclass
from pathlib import Path

from sfumato.audit.rows import LackRow, PanelRow, SecretRow
from sfumato.experiments.rows import RowStore


@dataclass(frozen=True, kw_only=True)
class Store:
    """Rows, pictures, and what found nothing to work on."""

    rows: RowStore[SecretRow]
    panels: RowStore[PanelRow]
    lacks: RowStore[LackRow]

    @classmethod
    def of(cls, out: Path) -> "Store":
        """Opens or makes them."""
        return cls(
            rows=RowStore(out / "rows", SecretRow),
            panels=RowStore(out / "panels", PanelRow),
            lacks=RowStore(out / "lacks", LackRow),
        )

    def finished(self) -> set[str]:
        """Trials on batches that were made, by name."""
        return self.lacks.finished() | set(self.rows.read(["case", "trial"])["trial"])
