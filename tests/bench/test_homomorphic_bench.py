"""The bench of encrypted updates and runs counts what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.progress import Progress

from sfumato.bench import encrypted_fraction, encrypted_update
from sfumato.bench.encrypted_fraction import (
    fraction_plot,
    fraction_rows,
    fraction_table,
    guess_panel,
    measure_fractions,
)
from sfumato.bench.encrypted_update import measure_updates, published_table, update_rows, update_table, with_threshold
from sfumato.bench.homomorphic import run_checks, update_checks
from sfumato.bench.update_layouts import num_bytes

pytest.importorskip("tenseal")


@pytest.fixture(scope="module")
def updates():
    num_threads = torch.get_num_threads()
    rows = measure_updates(1)
    torch.set_num_threads(num_threads)
    return {row.layout: row for row in rows}


def test_every_layout_computes_the_same_update(updates):
    """The released parameters are the least exact."""
    assert len(updates) == 10
    errors = {name: row.largest_error for name, row in updates.items()}
    assert errors.pop(encrypted_update.RELEASED) < 2e-2
    assert max(errors.values()) < 1e-6
    assert all(row.largest_error > 0 for row in updates.values())


def test_ciphertexts_follow_from_the_encrypted_entries(updates):
    counts = {t: updates[with_threshold(t)].ciphertexts for t in encrypted_update.THRESHOLDS}
    assert counts == {0.01: 4, 0.1: 3, 0.2: 3, 0.5: 1, 0.9: 1}
    assert updates[encrypted_update.WHOLE].ciphertexts == 4
    assert updates[encrypted_update.ONE_EACH].ciphertexts == 16384


def test_bytes_are_those_that_travel(updates):
    sealed, released = updates[encrypted_update.SEALED], updates[encrypted_update.RELEASED]
    assert sealed.sent_bytes < released.sent_bytes / 6, "acceptance A3, of what does not depend on the machine"
    assert sealed.returned_bytes == 0
    assert updates[encrypted_update.CLEAR].sent_bytes == 0
    assert num_bytes((b"123", torch.zeros(2), [b"4"])) == 12


def test_what_does_not_depend_on_the_machine_is_as_expected(updates):
    timed = ("over one value", "both sides", "cloud", "client", "in the clear")
    checks = [c for c in update_checks(list(updates.values())) if not any(word in c.what for word in timed)]
    assert len(checks) == 6
    assert all(check.is_met for check in checks), checks
    assert published_table().row_count == 4
    assert update_table(list(updates.values()), 1).row_count == len(update_rows(list(updates.values()), 1)) == 10


def test_runs_are_attacked_and_drawn(monkeypatch, tmp_path):
    """Two prompts, three steps: the shape of the result, and what must hold at any size."""
    monkeypatch.setattr(encrypted_fraction, "THRESHOLDS", (0.0, 0.5))
    monkeypatch.setattr(encrypted_fraction, "PROMPTS", ("a man", "a woman"))
    few = {name: replace(attack, samples=2) for name, attack in encrypted_fraction.ATTACKS.items()}
    monkeypatch.setattr(encrypted_fraction, "ATTACKS", few)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = measure_fractions(3, Progress(disable=True))
    rows = [m.row for m in made]
    assert [(r.mode, r.parameters, r.selection, r.threshold) for r in rows[:2]] == [
        ("paper", "one-level", "min-distortion", 0.0),
        ("paper", "one-level", "min-distortion", 0.5),
    ]
    everything, half, sealed = rows[0], rows[1], rows[-1]
    assert everything.encrypted_fraction == 1 > half.encrypted_fraction > 0
    assert set(everything.leaks) == {encrypted_fraction.ALONE, encrypted_fraction.BOTH, encrypted_fraction.PRIOR}
    assert set(half.leaks) == {*everything.leaks, encrypted_fraction.ENTRIES}
    assert all(len(values) == 2 for values in half.leaks.values())
    assert sealed.leaks == sealed.guessed_decibels == {}
    assert np.isinf(sealed.decibels).all()
    checks = {check.what: check for check in run_checks(rows, 1e-9)}
    assert checks["sealed: attacks on its transcript"].is_met
    assert checks["sealed, final picture against plain, dB"].measured == "equal to the byte"
    assert fraction_table(rows, 3).row_count == len(fraction_rows(rows, 3)) == len(rows)
    assert fraction_plot(rows).startswith(b"\x89PNG")
    assert guess_panel(made).startswith(b"\x89PNG")
