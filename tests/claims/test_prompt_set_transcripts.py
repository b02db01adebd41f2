"""What a cloud of prompt-set receives does not say which candidate was meant; sets that are made wrongly do."""

from dataclasses import dataclass, replace
from itertools import chain

import pytest
import torch

from prompt_set_runs import ListeningCloud
from recorded import in_process
from sfumato.protocols.prompt_set import client as client_module
from sfumato.protocols.prompt_set.candidates import candidate_set
from sfumato.protocols.prompt_set.candidates.candidate_set import own_words
from sfumato.protocols.prompt_set.candidates.prior import posterior
from sfumato.protocols.prompt_set.spec import Candidates, PromptSet
from sfumato.wire.codec import encode

SPEC = PromptSet(server_steps="1-1-1")
SMALL = {"height": 32, "width": 32, "num_inference_steps": 2, "output_type": "latent"}
TEMPLATES = ["a smiling old man", "a woman in her twenties, with a beard", "an Indian boy and his dog"]
OTHER_WORDING = ["a smiling elderly man", "a man of 45 years, with a beard", "a Nigerian girl and her dog"]


def members(prompt: str) -> tuple[str, ...]:
    return candidate_set(prompt).prompts


@dataclass
class Heard:
    """What one run told the cloud."""

    requests: list[Candidates]
    sizes: list[int]


@pytest.fixture(scope="module")
def heard(tiny_sd):
    """Generates for a prompt, and returns what the cloud heard."""
    cloud = ListeningCloud(tiny_sd, SPEC)
    pipe = in_process(tiny_sd, SPEC, clouds=cloud)

    def run(prompt: str, **arguments) -> Heard:
        cloud.requests, cloud.sizes = [], []
        pipe(prompt, **SMALL | {"seed": 3} | arguments)
        return Heard(cloud.requests, cloud.sizes)

    return run


def bytes_of(request: Candidates) -> bytes:
    encoded = encode(request)
    return encoded.header + b"".join(encoded.buffers)


@pytest.mark.parametrize(("prompt", "wording"), list(zip(TEMPLATES[:2], OTHER_WORDING, strict=False)))
def test_every_member_and_every_wording_makes_the_same_request(heard, prompt, wording):
    clouds = [heard(p, negative_prompt="blurred") for p in (*members(prompt), prompt, wording)]
    assert len({tuple(map(bytes_of, c.requests)) for c in clouds}) == 1
    assert len({tuple(c.sizes) for c in clouds}) == 1
    # A Hello, and one request.
    assert {len(c.sizes) for c in clouds} == {2}


def test_another_prompt_makes_another_request(heard):
    first, second = (heard(p).requests[0] for p in ("a smiling man", "a laughing man"))
    assert bytes_of(first) != bytes_of(second)


def test_rolling_again_shows_the_same_set(heard):
    first, second = (heard("an old woman", seed=s).requests[0] for s in (1, 2))
    assert first.prompts == second.prompts
    assert not torch.equal(first.noise, second.noise)


def test_what_the_client_does_with_the_answer_sends_nothing_more(heard):
    long, short = (heard("an old woman", num_inference_steps=n) for n in (6, 2))
    assert len(long.sizes) == len(short.sizes) == 2
    assert long.sizes[1] == short.sizes[1]


# Attacks: a guess from what the cloud received, told the way in which sets are made.


def guess(request: Candidates, prior: tuple[float, ...]) -> int:
    """The likeliest member, unless the set was made so that one of them stands out."""
    prompts = request.prompts
    unlike = [i for i, p in enumerate(prompts) if own_words(p) != p]
    if len(unlike) == 1:
        return unlike[0]
    if list(prompts) != sorted(prompts):
        return 0
    return max(range(len(prompts)), key=prior.__getitem__)


def own_values_first(prompt, **settings):
    honest = candidate_set(prompt, **settings)
    rest = [p for p in honest.prompts if p != honest.own]
    return replace(honest, prompts=(honest.own, *rest), index=0)


def unsorted_from_own(prompt, **settings):
    honest = candidate_set(prompt, **settings)
    turned = honest.prompts[honest.index :] + honest.prompts[: honest.index]
    return replace(honest, prompts=turned, index=0)


def own_wording_left_in(prompt, **settings):
    honest = candidate_set(prompt, **settings)
    return replace(honest, prompts=tuple(prompt if p == honest.own else p for p in honest.prompts))


def success(heard, prior_of) -> tuple[float, float]:
    """How often the guess is right over all members, each as likely as the prior says; and the prior's best."""
    right = best = 0.0
    for template in TEMPLATES[:2]:
        prompts = members(template)
        prior = prior_of(prompts)
        best += max(prior)
        for own, (prompt, probability) in enumerate(zip(prompts, prior, strict=True)):
            request = heard(prompt).requests[0]
            found = request.prompts[guess(request, prior)]
            right += probability * (found == prompts[own])
    return right / 2, best / 2


@pytest.mark.parametrize(
    "prior_of", [lambda prompts: (1 / len(prompts),) * len(prompts), posterior], ids=["uniform", "bundled"]
)
def test_no_guess_is_better_than_the_prior(heard, prior_of):
    right, best = success(heard, prior_of)
    assert right == pytest.approx(best)


@pytest.mark.parametrize("broken", [own_values_first, unsorted_from_own])
def test_a_set_that_begins_with_ones_own_gives_it_away(heard, broken, monkeypatch):
    monkeypatch.setattr(client_module, "candidate_set", broken)
    right, best = success(heard, lambda prompts: (1 / len(prompts),) * len(prompts))
    # A sorted set that begins with one's own cannot be told from an honest one.
    assert best < 0.2
    assert right > 0.8


def test_wording_that_is_left_in_gives_it_away(heard, monkeypatch):
    monkeypatch.setattr(client_module, "candidate_set", own_wording_left_in)
    wordings = ["a smiling elderly lady", "a smiling 19-year-old man", "a smiling aged man"]
    found = []
    for prompt in wordings:
        request = heard(prompt).requests[0]
        found.append(request.prompts[guess(request, (1.0,) + (0.0,) * (len(request.prompts) - 1))] == prompt)
    assert all(found)


def test_members_are_spelt_in_the_words_of_the_taxonomy():
    every = chain.from_iterable(members(p) for p in (*TEMPLATES, *OTHER_WORDING))
    assert all(own_words(p) == p for p in every)
