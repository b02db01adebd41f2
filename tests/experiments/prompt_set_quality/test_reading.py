"""What networks that know no painter read: the value whose caption fits best."""

import numpy as np
import pytest

from sfumato.experiments.networks import load_networks
from sfumato.experiments.prompt_set_quality.reading import read_values
from sfumato.portraits.attributes import VALUES
from sfumato.portraits.samples import sample


class Captions:
    """Every picture shows an old Asian woman."""

    choice = "published"

    def clip(self, pictures, texts):
        return np.array(
            [30.0 if text.split(" a ")[-1] in ("woman", "old person", "Asian person") else 20.0 for text in texts]
        )


def test_the_value_whose_caption_fits_best():
    pictures = np.zeros((2, 8, 8, 3), np.uint8)
    assert read_values(Captions(), pictures) == [{"gender": "woman", "age": "old", "ethnicity": "asian"}] * 2


def test_the_bundled_encoder_reads_all_that_the_painter_knows():
    pytest.importorskip("skia")
    drawn = [sample(np.random.default_rng(seed)) for seed in range(6)]
    found = read_values(load_networks("bundled"), np.stack([picture for picture, _, _ in drawn]))
    assert all(set(read) == set(VALUES) for read in found)
    right = [
        read[name] == value
        for read, (_, person, _) in zip(found, drawn, strict=True)
        for name, value in person.values().items()
    ]
    assert np.mean(right) > 0.9
