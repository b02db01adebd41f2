"""Networks of one's own by name: the function in a file or module that makes the target."""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sfumato.errors import ModelError

_NAME: Final = re.compile(r"(?P<place>.+):(?P<function>[^\W\d]\w*)")


def is_own(name: str) -> bool:
    """Whether a name is FILE.py:FUNCTION or MODULE:FUNCTION."""
    return _NAME.fullmatch(name) is not None


def made_by(name: str, weights: Path | None) -> Any:
    """Runs the file or module that a name begins with, and returns what its function makes.

    Args:
        name: FILE.py:FUNCTION or MODULE:FUNCTION.
        weights: the function's argument; None calls it without one.

    Raises:
        ValueError: the function wants weights and there are none, or the other way round.
        ModelError: there is no such function, or the user's code fails.
    """
    found = _NAME.fullmatch(name)
    assert found is not None
    function = _function(_module(found["place"], name), found["function"], name)
    given = () if weights is None else (weights,)
    try:
        inspect.signature(function).bind(*given)
    except TypeError:
        raise ValueError(
            f"{found['function']} of target {name!r} "
            + ("needs weights: give --weights FILE" if weights is None else "takes no weights: leave out --weights")
        ) from None
    with _told(name):
        return function(*given)


def _module(place: str, name: str) -> ModuleType:
    if not place.endswith(".py"):
        with _told(name):
            return importlib.import_module(place)
    file = Path(place)
    if not file.is_file():
        raise ModelError(f"target {name!r} cannot be made: there is no file {place}")
    key = f"sfumato_target_{file.stem}"
    spec = importlib.util.spec_from_file_location(key, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Data classes and torch.export look up the module of a class.
    sys.modules[key] = module
    with _told(name):
        spec.loader.exec_module(module)
    return module


def _function(module: ModuleType, function: str, name: str) -> Callable[..., Any]:
    found = getattr(module, function, None)
    if not callable(found):
        raise ModelError(f"target {name!r} cannot be made: {module.__name__} has no function {function}")
    return found


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turns whatever the user's code raises into a sentence."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"target {name!r} cannot be made: {type(error).__name__}: {error}") from error
