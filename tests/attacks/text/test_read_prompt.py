"""What a cloud is told of the text gives the very words, and what it is not told gives none."""

import pytest
import torch

from made_views import made, view
from recorded import record
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.text.prefix_encoder import PrefixEncoder
from sfumato.attacks.text.read_prompt import ReadPrompt
from sfumato.attacks.text.token_search import TokenSearch
from sfumato.attacks.text.told_text import prompt_embeds, solved
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput
from sfumato.models.conditioning import PromptEncoder
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.protocols.strip_split.spec import StripSplit

ATTACK = ReadPrompt(samples=10)


def asked(model, spec):
    """The prompts, in the small letters that the tokenizer makes of them."""
    return tuple(prompt.lower() for prompt in made(model, spec, number=1)[1].prompts)


@pytest.mark.parametrize(
    "spec",
    [
        Plain(),
        LayerSplit(num_clouds=2),
        LayerSplit(num_clouds=2, wire_dtype="fp16"),
        StripSplit(cross_attention="cloud"),
    ],
    ids=lambda spec: f"{spec.name}-{getattr(spec, 'wire_dtype', '')}",
)
def test_the_very_words_are_read(portraits, spec):
    seen = view(portraits, spec, (spec.num_clouds - 1,), number=1)
    prompts = asked(portraits, spec)
    assert ATTACK.run(seen).texts == prompts
    assert not set(ATTACK.prior(seen).texts) & set(prompts)


def test_noise_says_other_words(portraits):
    spec = LayerSplit(num_clouds=2)
    prompts = asked(portraits, spec)
    for guess, true in zip(ATTACK.run(view(portraits, spec, number=1, is_noise=True)).texts, prompts, strict=True):
        assert sum(a == b for a, b in zip(guess.split(), true.split(), strict=False)) < 4


def test_where_the_client_attends_to_the_text_there_is_nothing_to_read(portraits):
    for spec in (LayerSplit(num_clouds=2, cross_attention="client"), StripSplit(num_clouds=2)):
        with pytest.raises(LacksInput, match="not shown"):
            ATTACK.run(view(portraits, spec, number=1))


def test_the_negative_half_alone_is_not_the_prompt(portraits):
    spec = StripSplit(num_clouds=2, cross_attention="cloud", cfg_clouds="separate")
    with pytest.raises(LacksInput, match="negative prompt"):
        ATTACK.run(view(portraits, spec, (0,), number=1))
    assert ATTACK.run(view(portraits, spec, (1,), number=1)).texts == asked(portraits, spec)


def test_a_set_gives_one_of_its_texts(portraits):
    spec = PromptSet(server_steps="1-1-1")
    seen = view(portraits, spec, number=1)
    sets = reader_of(seen).prompts(seen)
    assert all(text in each for text, each in zip(ATTACK.run(seen).texts, sets, strict=True))


def test_a_recorded_run_needs_no_settings(portraits, tmp_path):
    run = record(portraits, LayerSplit(num_clouds=2), tmp_path / "run", prompt="a portrait of a young woman")
    guess = ATTACK.run(RunView.of(run.recording, portraits, ["cloud-2"]))
    assert guess.texts == ("a portrait of a young woman",)


def test_least_squares_gives_the_embedding(portraits):
    spec = LayerSplit(num_clouds=2)
    seen, told = view(portraits, spec, number=1), view(portraits, Plain(), number=1)
    assert torch.allclose(prompt_embeds(seen), prompt_embeds(told), atol=1e-4)
    text = reader_of(seen).text(seen)
    assert solved(portraits, text.projections).shape[0] == 2


def test_positions_one_by_one_are_the_encoders_own(portraits, tiny_sdxl):
    for model in (portraits, tiny_sdxl):
        encoder, prompt = PrefixEncoder(model), "an old man, with a hat"
        conditioning = PromptEncoder(model).encode(
            [prompt], None, guided=False, num_images_per_prompt=1, height=64, width=64
        )
        wanted = conditioning.prompt_embeds[0, :, : encoder.width]
        prefix = encoder.start()
        for position, token in enumerate(encoder.tokenizer(prompt).input_ids[1:], start=1):
            made_here = encoder.continued(prefix, torch.tensor([token]))
            assert torch.allclose(made_here.embeds[0], wanted[position], atol=1e-4)
            prefix = made_here.take(0)


def test_the_distance_tells_the_very_text(portraits):
    embeds = prompt_embeds(view(portraits, Plain(), number=1))
    found = TokenSearch(PrefixEncoder(portraits), beam=1).find(embeds[0])
    assert found.distance < 1e-8
