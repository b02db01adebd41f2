import pytest

from sfumato.protocols.prompt_set.candidates import candidate_set, default_taxonomy, load_taxonomy


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "own.toml").write_text(text)
        return tmp_path / "own.toml"

    return write


def test_the_built_in_types_are_the_papers():
    assert {t.name: set(t.values) for t in default_taxonomy().types} == {
        "gender": {"male", "female"},
        "age": {"young", "middle-aged", "old"},
        "ethnicity": {"caucasian", "african", "asian", "indian", "european"},
    }


def test_a_type_can_be_added(written):
    own = load_taxonomy(
        written(
            """
            [types.belief]
            values = ["buddhist", "christian", "muslim"]
            adjectives = [["Buddhist", "Christian", "Muslim"]]
            nouns = [["temple", "church", "mosque"]]
            unlisted = ["pagan"]
            words = { catholic = "Christian", Islamic = "Muslim" }
            """
        )
    )
    found = candidate_set("a Catholic person in front of a church", taxonomy=own)
    assert found.values == (("belief", "christian"),)
    assert "a Muslim person in front of a mosque" in found.prompts
    assert len(candidate_set("a muslim woman", taxonomy=own).prompts) == 6
    with pytest.raises(ValueError, match="'pagan' fits no value of belief"):
        candidate_set("a pagan woman", taxonomy=own)


def test_words_can_be_added_and_a_type_replaced(written):
    more = load_taxonomy(written('[types.ethnicity.words]\nMartian = "European"\nAmerican = "Caucasian"'))
    assert candidate_set("a Martian doctor", taxonomy=more).values == (("ethnicity", "european"),)
    assert candidate_set("an American doctor", taxonomy=more).values == (("ethnicity", "caucasian"),)
    other = load_taxonomy(written('[types.ethnicity]\nvalues = ["Arab", "Latin American"]'))
    assert candidate_set("a Latin American doctor", taxonomy=other).prompts == (
        "a Latin American doctor",
        "an Arab doctor",
    )


WRONG = {
    "not TOML": ("values = [", "is not a TOML file"),
    "no types": ("[type.x]", "holds tables named"),
    "no values": ("[types.x]\nnouns = []", "needs two or more different values"),
    "one value": ('[types.x]\nvalues = ["a"]', "needs two or more different values"),
    "unknown key": ('[types.x]\nvalues = ["a", "b"]\nadverbs = []', "has no key 'adverbs'"),
    "not words": ("[types.x]\nvalues = [1, 2]", "values must be a list of words"),
    "not rows": ('[types.x]\nvalues = ["a", "b"]\nnouns = "c"', "nouns must be a list of rows"),
    "short row": ('[types.x]\nvalues = ["a", "b"]\nnouns = [["c"]]', "give one word for each value"),
    "same word": ('[types.x]\nvalues = ["a", "b"]\nnouns = [["c", "C"]]', "must name one value only"),
    "pronouns": ('[types.x]\nvalues = ["a", "b"]\npronouns = { dative = [] }', "pronouns must be a table of"),
    "words": ('[types.x]\nvalues = ["a", "b"]\nwords = { c = 1 }', "words must be a table of lines"),
    "countable": ('[types.x]\nvalues = ["a", "b"]\ncountable = "yes"', "countable must be true or false"),
    "no table": ("types = { x = 1 }", "must be a table"),
    "word taken": ('[types.x]\nvalues = ["young", "fresh"]', "has the word 'young' twice"),
    "word of nothing": ('[types.x]\nvalues = ["ripe", "fresh"]\nwords = { new = "novel" }', "names no value of 'x'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_in_one_sentence(written, name):
    text, sentence = WRONG[name]
    with pytest.raises(ValueError, match=sentence) as error:
        load_taxonomy(written(text))
    assert "own.toml" in str(error.value)
