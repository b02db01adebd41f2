"""What pictures show: the sensitive attributes, read by the network that scores them."""

from functools import cache
from typing import Any, Final

import numpy as np

from sfumato.experiments.networks import Networks, Pictures
from sfumato.portraits.attributes import VALUES
from sfumato.portraits.wording import ADJECTIVES

_SENSITIVE: Final = ("gender", "age", "ethnicity")


def read_values(networks: Networks, pictures: Pictures) -> list[dict[str, str]]:
    """For each picture the likeliest value of each attribute.

    The bundled encoder reads all that the painter knows, by its linear maps. Other networks are asked for gender, age
    and ethnicity: the value whose caption has the highest CLIP score.
    """
    found = _read_by_maps(pictures) if networks.choice == "bundled" else _read_by_captions(networks, pictures)
    return [{name: values[place] for name, values in found.items()} for place in range(len(pictures))]


def _read_by_maps(pictures: Pictures) -> dict[str, list[str]]:
    encoder = _bundled()
    values = encoder.attribute_values
    return {
        name: [values[name][place] for place in rows.argmax(1)] for name, rows in encoder.attributes(pictures).items()
    }


@cache
def _bundled() -> Any:
    from sfumato.models.picture_encoder import PictureEncoder

    return PictureEncoder()


def _read_by_captions(networks: Networks, pictures: Pictures) -> dict[str, list[str]]:
    return {name: _best(networks, pictures, name) for name in _SENSITIVE}


def _best(networks: Networks, pictures: Pictures, name: str) -> list[str]:
    captions = [_caption(name, value) for value in VALUES[name]]
    scores = np.stack([networks.clip(pictures, [caption] * len(pictures)) for caption in captions])
    return [VALUES[name][place] for place in scores.argmax(0)]


def _caption(name: str, value: str) -> str:
    return f"a portrait of a {value}" if name == "gender" else f"a portrait of a {ADJECTIVES[name][value][0]} person"
