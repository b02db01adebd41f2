"""``sfumato bench homomorphic``: encrypted updates, whole runs against the threshold, and what was expected of both."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sfumato.bench.encrypted_fraction import (
    ALONE,
    EXACT,
    FractionRow,
    fraction_plot,
    fraction_rows,
    fraction_table,
    guess_panel,
    measure_fractions,
)
from sfumato.bench.encrypted_update import (
    CLEAR,
    ONE_EACH,
    RELEASED,
    SEALED,
    WHOLE,
    UpdateRow,
    measure_updates,
    published_table,
    update_rows,
    update_table,
    with_threshold,
)
from sfumato.bench.written import Results
from sfumato.crypto.ckks import Ciphertexts
from sfumato.crypto.parameters import parameters_named
from sfumato.crypto.secret_key import SecretKey
from sfumato.randomness import seeded_generator


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was expected."""

    what: str
    expected: str
    measured: str
    is_met: bool


def bench_homomorphic(repeats: int, steps: int, out: Path | None) -> None:
    """Measures all of it in one run, and writes tables, rows and the plot."""
    results = Results(folder=out, name="homomorphic")
    num_threads = torch.get_num_threads()
    updates = measure_updates(repeats)
    torch.set_num_threads(num_threads)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        made = measure_fractions(steps, progress)
    fractions = [m.row for m in made]
    checks = [*update_checks(updates), *run_checks(fractions, _accumulated_error())]
    tables = [update_table(updates, repeats), published_table(), fraction_table(fractions, steps), _check_table(checks)]
    rows = [*update_rows(updates, repeats), *fraction_rows(fractions, steps)]
    results.give([*rows, *({"bench": "homomorphic", "part": "check"} | asdict(c) for c in checks)], *tables)
    results.write("threshold.png", fraction_plot(fractions))
    results.write("guesses.png", guess_panel(made))


def update_checks(rows: Sequence[UpdateRow]) -> list[Check]:
    """What one update was expected to cost."""
    by_name = {row.layout: row for row in rows}
    whole, sealed, released = by_name[WHOLE], by_name[SEALED], by_name[RELEASED]
    part, half = by_name[with_threshold(0.01)], by_name[with_threshold(0.5)]
    hybrid = [row for row in rows if row.layout.startswith("mode=paper")]
    return [
        _at_least("packed over one value a ciphertext", by_name[ONE_EACH].milliseconds / whole.milliseconds, 500),
        Check(
            what="ciphertexts of mode=paper: entries over 4096, rounded up",
            expected="at every threshold; 4 of 4 at 0.01, 1 at 0.5",
            measured=", ".join(str(row.ciphertexts) for row in hybrid),
            is_met=all(row.ciphertexts == -(-round(row.encrypted_fraction * 16384) // 4096) for row in hybrid)
            and (part.ciphertexts, half.ciphertexts) == (4, 1),
        ),
        *(_as_many_ciphertexts(row, whole) for row in (part, half)),
        _at_least("packed whole over threshold 0.5, both sides", whole.milliseconds / half.milliseconds, 2.5),
        _at_most("sealed over released: upload", sealed.sent_bytes / released.sent_bytes, 1 / 6),
        _at_most("sealed over released: cloud", sealed.cloud_milliseconds / released.cloud_milliseconds, 1 / 5),
        _at_most("sealed over released: client", sealed.client_milliseconds / released.client_milliseconds, 1 / 2),
        _at_most("sealed, cloud, ms a step", sealed.cloud_milliseconds, 10),
        _at_most("sealed, client, ms a step", sealed.client_milliseconds, 80),
        _at_most("sealed, upload, KiB a step", sealed.sent_bytes / 1024, 300),
        _at_most("released parameters, error a step", released.largest_error, 2e-2),
        _between("encrypted of N(0, 1) at threshold 0.01", part.encrypted_fraction, 0.87, 0.91),
        _between("encrypted of N(0, 1) at threshold 0.5", half.encrypted_fraction, 0.22, 0.26),
        _at_least("packed whole over the update in the clear", whole.milliseconds / by_name[CLEAR].milliseconds, 500),
    ]


def run_checks(rows: Sequence[FractionRow], accumulated_error: float) -> list[Check]:
    """What whole runs were expected to show."""
    sealed = next(row for row in rows if row.mode == "sealed")
    all_encrypted = next(
        row for row in rows if row.mode == "paper" and row.encrypted_fraction == 1 and row.parameters == EXACT
    )
    least = min(sealed.decibels)
    return [
        _at_most("accumulator after 50 steps, error", accumulated_error, 1e-6),
        Check(
            what="sealed, final picture against plain, dB",
            expected="at least 60",
            measured="equal to the byte" if np.isinf(least) else f"{least:.1f}",
            is_met=least >= 60,
        ),
        _at_least("mode=paper, all encrypted: correlation from predictions", mean(all_encrypted.leaks[ALONE]), 0.9),
        Check(
            what="sealed: attacks on its transcript",
            expected="fail for lack of input",
            measured=f"{len(sealed.leaks)} had input",
            is_met=not sealed.leaks,
        ),
    ]


def _as_many_ciphertexts(row: UpdateRow, whole: UpdateRow) -> Check:
    expected = row.ciphertexts / whole.ciphertexts
    what = f"{row.layout.removeprefix('mode=paper, ')} over packed whole, both sides"
    return _between(what, row.milliseconds / whole.milliseconds, 0.7 * expected, 1.3 * expected)


def _at_least(what: str, found: float, bound: float) -> Check:
    return Check(what=what, expected=f"at least {bound:.3g}", measured=f"{found:,.3g}", is_met=found >= bound)


def _at_most(what: str, found: float, bound: float) -> Check:
    return Check(what=what, expected=f"at most {bound:.3g}", measured=f"{found:.3g}", is_met=found <= bound)


def _between(what: str, found: float, low: float, high: float) -> Check:
    return Check(what=what, expected=f"{low:.3g} to {high:.3g}", measured=f"{found:.3g}", is_met=low <= found <= high)


def _accumulated_error() -> float:
    """Of 51 encrypted terms as a run of 50 steps adds them, against the sum in fp64."""
    parameters, generator = parameters_named("sealed"), seeded_generator(2)
    key = SecretKey(parameters)
    terms = torch.randn(51, 16384, generator=generator, dtype=torch.float64) * 13

    def encrypted(term: torch.Tensor) -> Ciphertexts:
        return Ciphertexts.from_bytes(key.encrypt(term), parameters, num_ciphertexts=4)

    held = encrypted(terms[0])
    for term in terms[1:]:
        held = held.add(encrypted(term))
    error = float((key.decrypt(held, 16384) - terms.sum(dim=0)).abs().max())
    key.destroy()
    return error


def _check_table(checks: Sequence[Check]) -> Table:
    table = Table(title="What was expected", title_justify="left")
    for heading in ("what", "expected", "measured", ""):
        table.add_column(heading)
    for check in checks:
        table.add_row(check.what, check.expected, check.measured, "met" if check.is_met else "NOT met")
    return table
