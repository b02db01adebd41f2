"""Prompts: every value asked for equally often, in words that make the sets and nothing else."""

from collections import Counter

import numpy as np
import pytest

from sfumato.experiments.prompt_set_quality.portrait_prompts import SLOTS, another_person, portrait_prompts
from sfumato.experiments.prompt_set_quality.study import Numbers
from sfumato.portraits.attributes import VALUES
from sfumato.portraits.captions import MAX_PIECES, count_pieces, mentioned
from sfumato.protocols.prompt_set.candidates import candidate_set


@pytest.mark.parametrize("size", SLOTS)
def test_every_combination_is_asked_for_equally_often(size):
    prompts = portrait_prompts(size, 2 * size)
    assert set(Counter(tuple(p.requested.items()) for p in prompts).values()) == {2}
    for name in SLOTS[size]:
        assert set(Counter(p.requested[name] for p in prompts)) == set(VALUES[name])


@pytest.mark.parametrize("size", SLOTS)
def test_a_prompt_makes_the_set_of_its_size_and_says_what_its_person_is(size):
    prompts = portrait_prompts(size, 30)
    for prompt in prompts:
        own = candidate_set(prompt.text)
        assert (len(own.prompts), own.own) == (size, prompt.text)
        named = mentioned(prompt.text)
        assert set(SLOTS[size]) <= set(named)
        assert {name: prompt.person.values()[name] for name in named} == named
        assert count_pieces(prompt.text) <= MAX_PIECES
    assert len({p.seed for p in prompts}) == 30


def test_more_prompts_begin_with_the_same_ones():
    assert portrait_prompts(6, 20)[:7] == portrait_prompts(6, 7)


def test_another_person_is_described_by_the_same_words():
    prompt = portrait_prompts(30, 8)[-1]
    named, others = mentioned(prompt.text), [another_person(prompt, np.random.default_rng(i)) for i in range(20)]
    assert all(other.values()[name] == value for other in others for name, value in named.items())
    assert len(set(others)) > 1


def test_a_part_of_the_list_has_some_prompts_of_every_size():
    prompts = Numbers(((2, 10), (30, 5))).prompts()
    assert Counter(p.num_candidates for p in prompts) == {2: 10, 30: 5}
    assert Counter(p.num_candidates for p in prompts[:9]) == {2: 6, 30: 3}
