import math

import pytest

from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.protocols.prompt_set.candidates.prior import (
    ANY,
    BEGIN,
    END,
    THEN,
    WITH,
    WORDED,
    CountedPrior,
    MaskedLanguageModel,
    bundled_prior,
    context_words,
    effective_candidates,
    events,
    posterior,
    value_words,
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


def test_each_factor_is_a_distribution():
    model = CountedPrior(
        {(THEN, BEGIN, "gender=male"): 3, (THEN, "gender=male", END): 3, (WORDED, "gender=male", "man"): 2}
    )
    for first in (BEGIN, "gender=male", "age=old"):
        assert sum(model.following(first, second) for second in [*value_words().by_value, END]) == pytest.approx(1)
    assert sum(model.wording("gender=male", word) for word in value_words().by_value["gender=male"]) == pytest.approx(1)
    assert model.following(BEGIN, "gender=male") > model.following(BEGIN, "gender=female")


def test_a_word_that_goes_with_all_alike_lifts_none():
    model = CountedPrior(
        {(WITH, ANY, ANY): 999, (WITH, ANY, "hat"): 100, (WITH, "age=old", ANY): 100, (WITH, "age=old", "hat"): 10}
    )
    assert model.lift("age=old", "hat") == pytest.approx(1, rel=0.01)
    assert model.lift("age=young", "hat") == pytest.approx(1)


def test_a_prompt_is_counted_by_its_values_and_listed_words():
    assert events("A middle-aged man of great renown with his hat") == [
        *(
            (THEN, BEGIN, "age=middle-aged"),
            (THEN, "age=middle-aged", "gender=male"),
            (THEN, "gender=male", "gender=male"),
        ),
        *((THEN, "gender=male", END), (WORDED, "age=middle-aged", "middle aged"), (WORDED, "gender=male", "man")),
        *((WORDED, "gender=male", "his"), (WITH, ANY, ANY), (WITH, ANY, "hat"), (WITH, "age=middle-aged", ANY)),
        *((WITH, "age=middle-aged", "hat"), (WITH, "gender=male", ANY), (WITH, "gender=male", "hat")),
    ]


def test_the_bundled_prior_knows_what_goes_together():
    bearded = candidate_set("a man with a beard")
    assert posterior(bearded.prompts)[bearded.index] > 0.8
    plain = effective_candidates(posterior(candidate_set("a man").prompts))
    assert 1 < effective_candidates(posterior(bearded.prompts)) < plain <= 2


def test_the_bundled_prior_holds_values_and_listed_words_only():
    known = {BEGIN, END, ANY, *value_words().by_value, *value_words().by_word, *context_words()}
    assert all({first, second} <= known for _, first, second in bundled_prior()._counts)


def test_a_masked_model_scores_word_by_word():
    asked = []

    def fill(text, targets):
        asked.append((text, targets))
        return [{"score": 0.5 if targets == ["man"] else 0.25}]

    scores = MaskedLanguageModel(fill, "[MASK]").log_likelihoods(["old man"])
    assert list(scores) == pytest.approx([math.log(0.125)])
    assert asked == [("[MASK] man", ["old"]), ("old [MASK]", ["man"])]
