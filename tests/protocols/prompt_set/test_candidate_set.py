"""The set is a function of the set: whichever member is asked for, and however it is worded."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import ClaimError
from sfumato.protocols.prompt_set.candidates import CandidateSet, Finding, TokenClassifier, candidate_set
from sfumato.protocols.prompt_set.candidates.taxonomy_files import default_taxonomy

NATIONS = [
    "Nigerian",
    "african-american",
    "Asian",
    "Chinese",
    "south korean",
    "white",
    "Caucasian",
    "German",
    "indian",
    "Sri Lankan",
]
AGES = [
    "young",
    "old",
    "middle-aged",
    "Middle aged",
    "elderly",
    "18-year-old",
    "45 year old",
    "eighty-two-year-old",
    "teenage",
    "70yo",
]
WOMEN = ["woman", "lady", "queen", "actress", "grandmother", "girl", "heiress", "nun", "female doctor", "businesswoman"]
MEN = ["man", "gentleman", "king", "waiter", "guy", "boy", "uncle", "Frenchman", "male nurse", "fisherman"]
OPENINGS = ["a portrait of {}", "{}", "Photo of {},", "THE {}", "oil painting, {}", "in Paris, {}"]
ENDINGS = [
    *(
        "",
        " with glasses",
        ", smiling, black hair",
        " and {her} old dog",
        " in {her} garden, a hat on {her} head",
        " by Van Gogh",
    ),
    *(
        ", {she} looks at {her}self",
        "; {she} waves",
        ". It was {hers}.",
        " who made it {herself}",
        ", the picture is of {him}",
    ),
]
SHE = {"she": "she", "her": "her", "hers": "hers", "him": "her", "herself": "herself"}
HE = {"she": "he", "her": "his", "hers": "his", "him": "him", "herself": "himself"}


@st.composite
def portraits(draw: st.DrawFn) -> str:
    """A prompt of one person, as people write them, grammatical or not."""
    is_woman = draw(st.booleans())
    noun = draw(st.sampled_from(WOMEN if is_woman else MEN))
    adjectives = draw(st.permutations([draw(st.sampled_from(["", *AGES])), draw(st.sampled_from(["", *NATIONS]))]))
    article = draw(st.sampled_from(["a ", "an ", "the ", "", "A "]))
    person = article + " ".join(word for word in [*adjectives, noun] if word)
    behind = (
        draw(st.sampled_from(["", " aged 40", " in {her} late sixties", ", 70 years old"]))
        if not any(adjectives)
        else ""
    )
    text = draw(st.sampled_from(OPENINGS)).format(person) + behind + draw(st.sampled_from(ENDINGS))
    return text.replace("{her}self", "{herself}").format(**(SHE if is_woman else HE))


def built(prompt: str) -> tuple[CandidateSet | None, str]:
    """The set, or why there is none."""
    try:
        return candidate_set(prompt), ""
    except (ValueError, ClaimError) as error:
        return None, str(error)


@given(prompt=portraits(), share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=50)
def test_every_member_gives_the_same_request(prompt, share):
    own, problem = built(prompt)
    if own is None:
        assert "two values" in problem  # such as an old girl
        return
    place = int(share * len(own.prompts))
    again = candidate_set(own.prompts[place])
    assert again.prompts == own.prompts
    assert again.index == place
    assert list(own.prompts) == sorted(set(own.prompts))
    assert len(own.prompts) == prod(len(default_taxonomy().type(type).values) for type in own.types)


def test_each_of_all_members_gives_the_same_request():
    own = candidate_set("A 70-year-old lady, her hat in her hand, smiling at herself")
    again = [candidate_set(member) for member in own.prompts]
    assert {each.prompts for each in again} == {own.prompts}
    assert [each.index for each in again] == list(range(6))


@given(
    age=st.sampled_from(
        ["young", "18-year-old", "18 year old", "youthful", "19yo", "twenty-one-year-old", "teenage", "Young"]
    ),
    nation=st.sampled_from(["African", "Nigerian", "african-american", "black", "South African", "Kenyan-looking"]),
    noun=st.sampled_from(["woman", "gal"]),
    article=st.sampled_from(["a", "an"]),
)
@settings(max_examples=20)
def test_wording_does_not_reach_the_request(age, nation, noun, article):
    plain = candidate_set("portrait of a young African woman in a red hat")
    other = candidate_set(f"portrait of {article} {age.lower()}  {nation} {noun} in a red hat ")
    assert (other.prompts, other.index, other.values) == (plain.prompts, plain.index, plain.values)
    assert noun in other.prompt


PIECES = (
    *("a", "an", "her", "his", "him", "she", "old", "young", "man", "woman", "girl", "child", "king", ",", ".", "aged"),
    *("40", "in", "of", "and", "African", "Chinese", "american", "who", "is", "18-year-old", "hair", "face", "I", "'s"),
)


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=9).map(" ".join))
def test_any_text_gives_a_stable_set_or_one_sentence(prompt):
    own, problem = built(prompt)
    if own is None:
        assert problem.isprintable()
        return
    assert own.prompts[own.index] == own.own
    assert candidate_set(own.prompts[-1]).prompts == candidate_set(own.prompts[0]).prompts == own.prompts


AGREEMENT = {
    "an old king and his horse": ("an old queen and her horse", "a young king and his horse"),
    "An actress, proud of herself": ("An actor, proud of himself",),
    "a photo of him, with a book of his": ("a photo of her, with a book of hers",),
    "A GIRL": ("AN OLD MAN", "A MIDDLE-AGED WOMAN"),
    "an Asian woman's face": ("a Caucasian man's face", "an African man's face", "a European woman's face"),
    "two elderly ladies": ("two young gentlemen",),
    "a woman aged 70 in Rome": ("a man of young age in Rome",),
    "an heir": ("an heiress",),
    "portrait of a 75-year-old": ("portrait of a middle-aged person", "portrait of an old person"),
    "an African 18-year-old": ("an Indian old person", "a European young person"),
    "male 18-year-old": ("female old person",),
    "fifty-year-old's hands": ("old person's hands",),
    "a child": ("an old person", "a young person"),
}


@pytest.mark.parametrize("prompt", AGREEMENT)
def test_grammar_agrees(prompt):
    assert set(AGREEMENT[prompt]) <= set(candidate_set(prompt).prompts)


OWN = {
    "a woman in her thirties": [("age", "young"), ("gender", "female")],
    "a man in his late thirties": [("age", "middle-aged"), ("gender", "male")],
    "a man in his 60s": [("age", "old"), ("gender", "male")],
    "someone, 36 years old": [("age", "middle-aged")],
    "a 6-month-old baby": [("age", "young")],
    "a forty-something Dutchwoman": [("age", "middle-aged"), ("ethnicity", "european"), ("gender", "female")],
    "black and white photo of a black man": [("ethnicity", "african"), ("gender", "male")],
    "his hat": [("gender", "male")],
    "an old house with a woman": [("gender", "female")],
    "a Chinese vase beside a Japanese dancer": [("ethnicity", "asian")],
    "a Nigerian reading a book": [("ethnicity", "african")],
    "a woman, Indian and tired": [("ethnicity", "indian"), ("gender", "female")],
    "she is elderly": [("age", "old"), ("gender", "female")],
    "a woman of African descent": [("ethnicity", "african"), ("gender", "female")],
    "an elderly African American gentleman": [("age", "old"), ("ethnicity", "african"), ("gender", "male")],
}


@pytest.mark.parametrize("prompt", OWN)
def test_attributes_are_read(prompt):
    assert candidate_set(prompt).values == tuple(OWN[prompt])


REFUSED = {
    "": "the prompt is empty",
    " \u200b ": "the prompt is empty",
    "a bowl of fruit": "the prompt names no attribute",
    "an old car": "the prompt names no attribute",
    "the manual of a mandolin, age of steam": "the prompt names no attribute",
    "a young old man": r"two values of age, young \('young'\) and old \('old'\)",
    "a man and a woman": "two values of gender",
    "a man in her thirties": "two values of gender",
    "an old girl": "two values of age",
    "a Chinese woman and a Kenyan woman": "two values of ethnicity",
    "an American doctor": "'American' fits no value of ethnicity",
    "a brown man in brown boots": "'brown' fits no value of ethnicity",
    "a nonbinary person": "'nonbinary' fits no value of gender",
    "a 500-year-old vampire": "'500-year-old' fits no value of age",
}


@pytest.mark.parametrize("prompt", REFUSED)
def test_what_a_set_cannot_hide_is_refused(prompt):
    with pytest.raises(ValueError, match=REFUSED[prompt]):
        candidate_set(prompt)


def test_a_set_that_is_too_large_says_what_to_drop():
    prompt = "an old Asian woman"
    with pytest.raises(
        ValueError,
        match=r"30 candidates \(age 3 x ethnicity 5 x gender 2\).* is 16: leave gender out of the prompt for 15",
    ):
        candidate_set(prompt, max_candidates=16)
    with pytest.raises(ValueError, match="leave ethnicity out of the prompt for 6"):
        candidate_set(prompt, max_candidates=9)
    with pytest.raises(ValueError, match="leave ethnicity and gender out of the prompt for 3"):
        candidate_set(prompt, max_candidates=4)
    with pytest.raises(ValueError, match="at least 2"):
        candidate_set(prompt, max_candidates=1)


def test_plain_has_to_be_said():
    alone = candidate_set("a bowl of fruit", on_no_attribute="plain")
    assert (alone.prompts, alone.index, alone.types) == (("a bowl of fruit",), 0, ())


def test_numbers_that_may_be_an_age_are_shown():
    shown = candidate_set("a woman aged 30, she's 34, about fifty, early 40s, in 1950, 2.5 m, 80% grey")
    assert [(n.words, n.kind) for n in shown.not_covered] == [("34", "number"), ("fifty", "number"), ("40s", "number")]


def test_what_stays_is_shown():
    shown = candidate_set(
        "portrait of Ada Lovelace, an old woman in a wheelchair in Paris, with a beard and an old dog, young-hearted"
    )
    assert [(n.words, n.kind) for n in shown.not_covered] == [
        *(
            ("Ada Lovelace", "name"),
            ("wheelchair", "health"),
            ("Paris", "place"),
            ("old", "age"),
            ("young-hearted", "age"),
        )
    ]
    assert [(c.words, c.type, c.values, c.covered) for c in shown.correlates] == [("beard", "gender", ("male",), True)]
    assert not candidate_set("an old person with a five o’clock shadow").correlates[0].covered


class Standing:
    """A classifier in the place of a model."""

    def __init__(self, **found: str) -> None:
        self._found = found

    def __call__(self, text: str) -> list[dict[str, object]]:
        return [
            {"entity_group": label, "score": 0.9, "start": text.index(word), "end": text.index(word) + len(word)}
            for word, label in self._found.items()
            if word in text
        ]


def test_another_detector_adds_to_the_rules():
    prompt = "a woman, her look decidedly Asian today"
    assert candidate_set(prompt).types == ("gender",)
    classifier = TokenClassifier(
        Standing(**dict.fromkeys(["African", "Asian", "Caucasian", "European", "Indian"], "ETHNICITY"))
    )
    assert candidate_set(prompt, detectors=[classifier]).types == ("ethnicity", "gender")
    named = candidate_set("a woman called zoe", detectors=[TokenClassifier(Standing(zoe="FIRSTNAME"))])
    assert [(n.words, n.kind) for n in named.not_covered] == [("zoe", "firstname")]
    with pytest.raises(ValueError, match="'Martian' fits no value of ethnicity"):
        candidate_set("a Martian woman", detectors=[TokenClassifier(Standing(Martian="NORP"))])


def test_a_detector_that_reads_members_differently_stops_the_run():
    class Moody:
        def find(self, prompt: str) -> list[Finding]:
            at = prompt.find("Asian today")
            return [Finding(at, at + 5, "ethnicity")] if at >= 0 else []

    with pytest.raises(ClaimError, match="would differ"):
        candidate_set("a woman, her look decidedly Asian today", detectors=[Moody()])


def test_words_that_come_to_stand_beside_a_person_are_covered():
    own = candidate_set("in hers thirties")
    assert own.prompts[own.index] == own.own
    assert all(candidate_set(member).prompts == own.prompts for member in own.prompts)
