import numpy as np
import pytest

from sfumato.portraits import VALUES, caption, draw_attributes, mentioned
from sfumato.portraits.captions import MAX_PIECES, count_pieces


def cases(count, leave_out):
    generator = np.random.default_rng(17)
    for _ in range(count):
        person = draw_attributes(generator)
        yield person, caption(person, generator, leave_out=leave_out)


@pytest.mark.parametrize("leave_out", [0.0, 0.12, 0.5])
def test_captions_claim_nothing_wrong(leave_out):
    for person, text in cases(800, leave_out):
        wrong = {name: value for name, value in mentioned(text).items() if getattr(person, name) != value}
        assert not wrong, text


def test_full_captions_name_everything():
    for person, text in cases(800, 0.0):
        expected = set(VALUES)
        if person.hair_style == "bald" and person.beard == "none":
            expected.remove("hair_colour")
        if person.gender == "woman":
            expected.remove("beard")
        assert set(mentioned(text)) == expected, text


def test_captions_fit_the_text_encoder():
    assert max(count_pieces(text) for _, text in cases(1500, 0.0)) <= MAX_PIECES


def test_same_seed_gives_same_words():
    assert list(cases(20, 0.12)) == list(cases(20, 0.12))


def test_one_person_has_many_captions():
    generator = np.random.default_rng(0)
    person = draw_attributes(generator)
    assert len({caption(person, generator) for _ in range(100)}) > 95


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a young woman with red hair and glasses, blue background",
            {
                "age": "young",
                "gender": "woman",
                "hair_colour": "red",
                "glasses": "glasses",
                "background": "blue",
            },
        ),
        (
            "a portrait of an 18-year-old Nigerian woman with glasses",
            {"age": "young", "ethnicity": "african", "gender": "woman", "glasses": "glasses"},
        ),
        (
            "an old man with a grey beard wearing a hat, at the sea",
            {
                "age": "old",
                "gender": "man",
                "hair_colour": "grey",
                "beard": "beard",
                "hat": "hat",
                "background": "sea",
            },
        ),
    ],
)
def test_reads_what_people_write(text, expected):
    assert mentioned(text) == expected
