"""Models from the hub, and libraries that talk less while they load."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sfumato.errors import ModelError


def from_hub(name: str, patterns: Sequence[str]) -> Path:
    """The local folder of a hub model; downloads the files of the given patterns once.

    Raises:
        ModelError: it is neither in the local cache nor to be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"model {name!r} is neither in the local cache nor could it be downloaded "
            f"({type(error).__name__}): check the name and the network, or give a folder"
        ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers' progress bars and warnings off the terminal inside the block."""
    from transformers.utils import logging

    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Keeps diffusers' remarks on configurations off the terminal; what matters comes as an error."""
    from diffusers.utils import logging

    shown = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(shown)
