"""Recorded runs of the published layout, made once a test session."""

from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

from recorded import Run, record
from sfumato.attacks.view import RunView
from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec
from sfumato.protocols.homomorphic.spec import Homomorphic

PORTRAIT = {"prompt": "an old man with a grey beard, at the sea", "num_inference_steps": 12}
FULL = {"height": 32, "width": 32, "num_inference_steps": 20, "num_images_per_prompt": 4}
"""Of the tiny model: as many entries as a ciphertext has slots."""
AT_THE_CLOUD = {"denoiser": "cloud", "accept_plaintext_unet": True}


def paper(**settings) -> Homomorphic:
    return Homomorphic(mode="paper", **settings)


@lru_cache
def _run(model: ModelFolder, spec: Spec, arguments: tuple) -> Run:
    return record(model, spec, Path(mkdtemp(prefix="sfumato-test-")) / "run", **dict(arguments))


def run(model: ModelFolder, spec: Spec, **arguments) -> Run:
    return _run(model, spec, tuple(arguments.items()))


def view(run: Run, model: ModelFolder) -> RunView:
    return RunView.of(run.recording, model)
