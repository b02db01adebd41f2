"""The true prompt among others explains what was seen best; a set tells nothing of its index."""

from dataclasses import replace

import numpy as np
import pytest

from made_views import made, view
from sfumato.attacks.text.rank_prompts import RankPrompts
from sfumato.audit.candidates import candidates_for
from sfumato.errors import LacksInput
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.protocols.strip_split.spec import StripSplit

ATTACK = RankPrompts(candidates=3, steps=1)


def ranked(model, spec, clouds=(0,), *, is_noise=False):
    """How often the true text has the highest score."""
    seen = view(model, spec, clouds, is_noise=is_noise)
    texts, true = candidates_for(seen, made(model, spec)[1], 0, ATTACK.num_candidates)
    seen = replace(seen, candidates=texts)
    assert (ATTACK.prior(seen).scores == 0).all()
    return float((ATTACK.run(seen).scores.argmax(1) == true).mean())


def test_the_true_text_explains_a_run_in_the_clear(portraits):
    assert ranked(portraits, Plain()) == 1
    assert ranked(portraits, Plain(), is_noise=True) < 1


@pytest.mark.parametrize("separate", [False, True])
def test_a_tile_is_explained_too(portraits, separate):
    spec = StripSplit(num_clouds=4, cfg_clouds="separate" if separate else "shared")
    assert ranked(portraits, spec, (3,)) >= 2 / 3
    if separate:
        with pytest.raises(LacksInput, match="negative prompt"):
            ranked(portraits, spec, (0,))


def test_in_a_set_every_candidate_is_denoised_alike(portraits):
    seen = view(portraits, PromptSet(server_steps="1-1-1"))
    scores = ATTACK.run(seen).scores
    assert len(scores) == 3
    assert np.isfinite(scores).all()


def test_it_needs_texts_and_predictions(portraits):
    with pytest.raises(LacksInput, match="texts"):
        ATTACK.run(view(portraits, Plain()))
    pytest.importorskip("tenseal")
    sealed = replace(view(portraits, Homomorphic()), candidates=(("one", "another"),) * 3)
    with pytest.raises(LacksInput, match="not shown"):
        ATTACK.run(sealed)
