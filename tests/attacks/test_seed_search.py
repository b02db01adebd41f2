"""A seed is found from the first latents, and noise of the operating system is not."""

import dataclasses
from pathlib import Path

import pytest
import torch

from recorded import record
from sfumato.attacks.seed_search import SeedSearch
from sfumato.attacks.view import RunView
from sfumato.audit.made_runs import RunMaker, view_of
from sfumato.protocols.plain.spec import Plain
from sfumato.wire.selection import keep_all

SEARCH = SeedSearch(first=1000, count=300)


def test_finds_the_seed_of_a_whole_batch(portraits):
    maker = RunMaker(model=portraits, spec=Plain(), num_inference_steps=2)
    ((recording, truth),) = maker.victims(2, SEARCH.keeps, first=250)
    assert SEARCH.run(view_of(recording, maker, (0,), truth.pictures.shape[:3])).seeds == (1250, 1250)
    assert truth.seed == 1250


@pytest.mark.parametrize("seed", [None, 1301])
def test_finds_nothing_beyond_what_it_tries(tiny_sd, tmp_path: Path, seed):
    run = record(tiny_sd, Plain(), tmp_path / "run", num_inference_steps=2, seed=seed)
    guess = SEARCH.run(RunView.of(run.recording, tiny_sd))
    assert guess.seeds == (None,)
    assert str(seed) not in guess.finding


def test_some_rows_are_enough(portraits):
    maker = RunMaker(model=portraits, spec=Plain(), num_inference_steps=2)
    ((recording, truth),) = maker.victims(1, keep_all, first=7)
    view = view_of(recording, maker, (0,), truth.pictures.shape[:3])
    from sfumato.attacks.seed_search import _agrees
    from sfumato.attacks.seen.catalog import reader_of

    (first, *_) = reader_of(view).latents(view)
    window = first.window._replace(top=10, bottom=12)
    strip = dataclasses.replace(first, window=window, values=first.values[:, :, 10:12].to(torch.float16).float())
    assert _agrees(1007, strip)
    assert not _agrees(1008, strip)
