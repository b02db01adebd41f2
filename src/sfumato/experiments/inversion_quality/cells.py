"""One method on one cut: the smallest thing that is computed and kept."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from sfumato.attacks.inversion.catalog import find_method
from sfumato.attacks.inversion.method import InversionMethod

_MACHINE_ONLY: Final = ("memory_gib", "at_once", "batch_size")
"""Settings that change no result."""
_STEP, _DECODER, _PIXELS = 0.054, 0.03, 0.0065
"""Seconds of one core for a picture and iteration: a U-Net step, the decoder and the target, the target alone."""
_TRAINED, _TRAINED_DECODER, _TRAINED_STEP = 0.027, 0.1, 0.18
"""Seconds of one core for a question and epoch: the inversion network, with the decoder, and each U-Net step."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A method with its settings, on pictures by the painter behind one cut."""

    target: str
    layer: str
    method: str
    settings: tuple[tuple[str, Any], ...]
    seeds: tuple[int, ...]
    """Of the painted portraits or clips."""
    num_frames: int = 1
    words: bool = False
    """Whether the attacker knows the background's words."""
    by_background: bool = False
    """Pictures of one background are inverted together, so that with and without words noise and batches are alike."""

    @cached_property
    def attack(self) -> InversionMethod:
        """The method, ready to run.

        Raises:
            ValueError: a setting is out of its range.
        """
        return find_method(self.method)(**dict(self.settings))

    @property
    def all_settings(self) -> dict[str, Any]:
        """Of the method, what changes no result left out."""
        return {name: value for name, value in asdict(self.attack).items() if name not in _MACHINE_ONLY}

    @property
    def num_pictures(self) -> int:
        """Frames counted one by one."""
        return len(self.seeds) * self.num_frames

    def identity(self, model_fingerprint: str, draws: int) -> str:
        """Equal for cells of one result, as long as the method's defaults are what they were.

        Only settings that the cell names count, so that rows stay known when a method gets a new setting;
        `changed_settings` tells whether a default has changed.

        Args:
            model_fingerprint: of the public model.
            draws: guesses without features.
        """
        about = {
            "target": self.target,
            "layer": self.layer,
            "method": self.method,
            "settings": dict(self.settings),
            "seeds": self.seeds,
            "frames": self.num_frames,
            "words": self.words,
            "by_background": self.by_background,
            "model": model_fingerprint,
            "draws": draws,
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]

    def changed_settings(self, stored: str) -> list[str]:
        """Names of settings that rows of this cell were computed with otherwise than it would be now.

        Args:
            stored: the settings of its rows, as JSON.
        """
        now = json.loads(json.dumps(self.all_settings))
        return [name for name, value in json.loads(stored).items() if now.get(name, value) != value]

    @property
    def expected_seconds(self) -> float:
        """Of one core as measured on `portraits`; only shares count, for the time that is left."""
        has = self.all_settings
        match self.method:
            case "white-box":
                steps = has["clip_sampling_steps" if self.num_frames > 1 else "sampling_steps"]
                return self.num_pictures * float(has["iterations"] * (steps * _STEP + _DECODER))
            case "decoder":
                return self.num_pictures * float(has["iterations"] * _DECODER)
            case "direct":
                return self.num_pictures * float(has["iterations"] * _PIXELS)
            case "black-box-direct":
                return float(has["queries"] * has["epochs"] * _TRAINED)
            case "black-box-decoder":
                return float(has["queries"] * has["epochs"] * _TRAINED_DECODER)
            case _:
                each = _TRAINED_DECODER + has["sampling_steps"] * _TRAINED_STEP
                return float(has["queries"] * has["epochs"] * each)
