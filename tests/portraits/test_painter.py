import numpy as np
import pytest

from sfumato.portraits import VALUES, Attributes, draw_attributes, paint, sample

PLAIN = {
    "gender": "man",
    "age": "young",
    "ethnicity": "indian",
    "hair_colour": "black",
    "hair_style": "short",
    "glasses": "none",
    "hat": "none",
    "beard": "none",
    "expression": "serious",
    "clothing": "blue",
    "background": "grey",
}


def test_same_seed_gives_same_sample():
    first, second = (sample(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert first[1:] == second[1:]


def test_other_seed_gives_other_picture():
    assert not np.array_equal(sample(np.random.default_rng(5))[0], sample(np.random.default_rng(6))[0])


@pytest.mark.parametrize("size", [64, 128, 256])
def test_picture_is_a_square_of_bytes(size):
    picture, _, _ = sample(np.random.default_rng(1), size=size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_size_changes_resolution_and_not_content():
    person = Attributes(**PLAIN)
    small, large = (paint(person, np.random.default_rng(2), size=size).astype(float) for size in (64, 128))
    halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(small - halved).mean() < 3


def test_every_value_of_every_attribute_is_drawn():
    generator = np.random.default_rng(0)
    people = [draw_attributes(generator) for _ in range(1500)]
    for name, values in VALUES.items():
        assert {getattr(person, name) for person in people} == set(values)


@pytest.mark.parametrize("name", sorted(set(VALUES) - {"hair_colour"}))
def test_every_value_changes_the_picture(name):
    values = [value for value in VALUES[name] if value != "bun" or PLAIN["hat"] == "none"]
    pictures = [paint(Attributes(**{**PLAIN, name: value}), np.random.default_rng(3)) for value in values]
    for index, picture in enumerate(pictures):
        assert all(not np.array_equal(picture, other) for other in pictures[index + 1 :])


def test_wrong_values_are_named_together():
    with pytest.raises(ValueError, match=r"age must be one of .*beard must be 'none' for a woman"):
        Attributes(**{**PLAIN, "age": "ancient", "gender": "woman", "beard": "beard"})


def test_bun_under_a_hat_is_refused():
    with pytest.raises(ValueError, match="needs hat 'none'"):
        Attributes(**{**PLAIN, "hair_style": "bun", "hat": "beanie"})


def test_missing_skia_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skia", None)
    with pytest.raises(ImportError, match=r"pip install 'sfumato\[portraits\]'"):
        paint(Attributes(**PLAIN), np.random.default_rng(0))
