"""Scores of several runs of one prompt add up."""

from dataclasses import replace

import numpy as np
import pytest

from made_views import made, view
from sfumato.attacks.pooled.across_runs import AcrossRuns
from sfumato.attacks.text.rank_prompts import RankPrompts
from sfumato.audit.candidates import candidates_for
from sfumato.errors import LacksInput
from sfumato.protocols.plain.spec import Plain


def test_runs_are_summed(portraits):
    seen = view(portraits, Plain())
    texts, true = candidates_for(seen, made(portraits, Plain())[1], 0, 3)
    seen = replace(seen, candidates=texts)
    single = RankPrompts(candidates=3, steps=1).run(seen).scores
    attack = AcrossRuns(runs=2, candidates=3)
    with pytest.raises(LacksInput, match="pools 2 runs"):
        attack.run(seen)
    pooled = attack.run(replace(seen, earlier=(replace(seen, candidates=()),)))
    assert np.allclose(pooled.scores, 2 * single)
    assert (pooled.scores.argmax(1) == true).all()
    assert (attack.num_earlier, attack.num_candidates) == (1, 3)
