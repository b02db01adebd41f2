"""Texts that an attacker holds for possible, and which of them is true."""

from made_views import made, view
from sfumato.audit.candidates import candidates_for
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.protocols.prompt_set.spec import PromptSet


def test_the_prompt_is_among_other_peoples(portraits):
    truth = made(portraits, Plain())[1]
    texts, true = candidates_for(view(portraits, Plain()), truth, 0, 4)
    assert [row[place] for row, place in zip(texts, true, strict=True)] == list(truth.prompts)
    assert {len(set(row)) for row in texts} == {4}


def test_in_a_set_the_prompt_is_worded_like_the_others(portraits):
    spec = PromptSet(server_steps="1-1-1")
    truth = made(portraits, spec)[1]
    texts, true = candidates_for(view(portraits, spec), truth, 0, 4)
    for row, place, prompt in zip(texts, true, truth.prompts, strict=True):
        own = candidate_set(prompt)
        assert (own.prompts, own.index) == (row, place)
