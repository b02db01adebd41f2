import os
import signal

# A run that was started in the background ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from hypothesis import settings

from sfumato.models.folder import ModelFolder, find_model
from sfumato.models.random_folder import write_random_model

# On shared cores, threads that wait for each other cost tiny models seven times what they save.
torch.set_num_threads(1)

settings.register_profile("shared machine", deadline=None, max_examples=50)
settings.load_profile("shared machine")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Keeps converted weights and key files of tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A random Stable Diffusion 1.x pipeline with three levels."""
    return write_random_model("tiny-sd", tmp_path_factory.mktemp("models") / "tiny-sd", seed=1)


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A random Stable Diffusion XL pipeline."""
    return write_random_model("tiny-sdxl", tmp_path_factory.mktemp("models") / "tiny-sdxl", seed=2)


@pytest.fixture(scope="session")
def portraits() -> ModelFolder:
    """The bundled model."""
    return find_model("portraits")
