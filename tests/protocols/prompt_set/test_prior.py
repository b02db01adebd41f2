import math

import pytest

from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.protocols.prompt_set.candidates.prior import (
    BEGIN,
    END,
    MaskedLanguageModel,
    WordPairs,
    bundled_prior,
    effective_candidates,
    kept_words,
    posterior,
    prior_vocabulary,
)


class Fixed:
    def __init__(self, *scores: float) -> None:
        self._scores = scores

    def log_likelihoods(self, prompts):
        return self._scores


def test_the_posterior_is_the_prior_within_the_set():
    # 3 to 1, whatever the common constant
    assert posterior(["a", "b"], Fixed(math.log(3) - 2000, math.log(1) - 2000)) == pytest.approx((0.75, 0.25))
    assert effective_candidates((0.75, 0.25)) == pytest.approx(4 / 3)


def test_a_uniform_prior_leaves_all_candidates_and_a_sure_one_leaves_one():
    assert effective_candidates(posterior("abcd", Fixed(-1.0, -1.0, -1.0, -1.0))) == pytest.approx(4)
    assert effective_candidates(posterior("ab", Fixed(0.0, -800.0))) == pytest.approx(1)


def test_a_scorer_must_answer_for_each_prompt():
    with pytest.raises(ValueError, match="one number a prompt, got 1 for 2"):
        posterior(["a", "b"], Fixed(0.0))


def test_word_pairs_are_a_distribution():
    model = WordPairs({(BEGIN, "man"): 3, ("man", END): 2, ("man", "beard"): 1}, frozenset({"man", "beard"}))
    for first in (BEGIN, "man", "beard", "elsewhere"):
        assert sum(model.probability(first, second) for second in ("man", "beard", END)) == pytest.approx(1)
    assert model.probability("man", "beard") > model.probability("beard", "beard")


def test_the_bundled_prior_knows_what_goes_together():
    bearded = candidate_set("a man with a beard")
    assert posterior(bearded.prompts)[bearded.index] > 0.8
    plain = effective_candidates(posterior(candidate_set("a man").prompts))
    assert 1 < effective_candidates(posterior(bearded.prompts)) < plain <= 2


def test_the_bundled_prior_holds_pairs_of_listed_words_only():
    known = prior_vocabulary() | {BEGIN, END}
    assert all({first, second} <= known for first, second in bundled_prior()._pairs)
    assert kept_words("A middle-aged man of great renown", prior_vocabulary()) == ["middle aged", "man"]


def test_a_masked_model_scores_word_by_word():
    asked = []

    def fill(text, targets):
        asked.append((text, targets))
        return [{"score": 0.5 if targets == ["man"] else 0.25}]

    scores = MaskedLanguageModel(fill, "[MASK]").log_likelihoods(["old man"])
    assert list(scores) == pytest.approx([math.log(0.125)])
    assert asked == [("[MASK] man", ["old"]), ("old [MASK]", ["man"])]
