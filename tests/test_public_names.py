"""The public names, pinned: a change here is a change for users."""

import pytest

import sfumato

NAMES = ["Homomorphic", "LayerSplit", "Plain", "PrivatePipeline", "PromptSet", "StripSplit", "__version__", "simulate"]


def test_the_public_names_are_these():
    assert sfumato.__all__ == NAMES
    assert sorted(sfumato._HOMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_described(name):
    found = getattr(sfumato, name)
    assert isinstance(found, str) or found.__doc__


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sfumato' has no attribute 'Pipeline'"):
        sfumato.Pipeline  # noqa: B018
