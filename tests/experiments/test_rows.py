import errno
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from sfumato.errors import ExperimentError
from sfumato.experiments.rows import PictureRow, RowStore, as_png, from_png, read_pictures


def row(case: str, **changed) -> PictureRow:
    values = {f.name: {str: "x", int: 1, float: 0.5, bytes: b""}.get(f.type) for f in fields(PictureRow)}
    picture = np.full((4, 5, 3), len(case), np.uint8)
    return PictureRow(**values | {"case": case, "picture": as_png(picture)} | changed)


def test_rows_come_back_as_they_went(tmp_path: Path) -> None:
    store = RowStore(tmp_path, PictureRow)
    rows = [row("b", seconds=1.25, reference="a"), row("a", prompt="in „Öl“, 80 × 60")]
    store.add(rows)
    frame = RowStore(tmp_path, PictureRow).read()
    assert [PictureRow(**values) for values in frame.iter_rows(named=True)] == sorted(rows, key=lambda r: r.case)


def test_an_empty_store_has_the_columns(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "new", PictureRow)
    assert store.finished() == set()
    assert store.read(without=["picture"]).columns == [f.name for f in fields(PictureRow)][:-1]


def test_a_case_that_two_processes_computed_counts_once(tmp_path: Path) -> None:
    store = RowStore(tmp_path, PictureRow)
    store.add([row("a"), row("b")])
    store.add([row("a")])
    assert store.read()["case"].to_list() == ["a", "b"]


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch) -> None:
    store = RowStore(tmp_path, PictureRow)
    store.add([row("a")])

    def full(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ExperimentError, match=r"No space left on device; everything finished before is kept"):
        store.add([row("b")])
    monkeypatch.undo()
    assert store.finished() == {"a"}
    assert [p.name for p in tmp_path.iterdir()] == ["a-1.parquet"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = RowStore(tmp_path, PictureRow)
    store.add([row("a")])
    (tmp_path / "a-1.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ExperimentError, match=r"a-1.parquet is damaged .* take it away"):
        store.finished()


def test_pictures_are_kept_without_loss_and_in_order(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert np.array_equal(from_png(as_png(picture)), picture)
    store = RowStore(tmp_path, PictureRow)
    store.add([row("a"), row("bb")])
    store.add([row("ccc")])
    found = read_pictures(["ccc", "a", "bb"], store.places())
    assert found.shape == (3, 4, 5, 3)
    assert found[:, 0, 0, 0].tolist() == [3, 1, 2]
