import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from recorded import served
from sfumato.cli import main
from sfumato.models.folder import ModelFolder, find_model
from sfumato.simulation import InProcessClouds

PROMPT = "a weatherbeaten fisherman"


class InProcessLocalClouds:
    """In place of local cloud processes: the same seam, nothing to start."""

    made: ClassVar[list["InProcessLocalClouds"]] = []

    def __init__(self, model: str, num_clouds: int, *, idle_seconds: float):
        self._model, self._num_clouds = model, num_clouds
        self.started = self.closed = False
        self.made.append(self)

    def start(self) -> "InProcessLocalClouds":
        self.started = True
        return self

    @contextmanager
    def open_channel(self, *, timeout_seconds: float):
        with InProcessClouds(served(find_model(self._model)), self._num_clouds).open_channel() as channel:
            yield channel

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def local_clouds(monkeypatch) -> list[InProcessLocalClouds]:
    monkeypatch.setattr("sfumato.cli.generating.LocalClouds", InProcessLocalClouds)
    InProcessLocalClouds.made = []
    return InProcessLocalClouds.made


Sfumato = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sfumato(monkeypatch, capfd) -> Sfumato:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sfumato", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capfd.readouterr())

    return run


@pytest.fixture
def refused(sfumato, tmp_path: Path, tiny_sd: ModelFolder, local_clouds) -> Callable[..., str]:
    """Runs ``generate`` with something wrong, and checks all that every refusal must be; returns its sentence."""

    def run(code: int, *arguments: object, prompt: str = PROMPT, model: object = None) -> str:
        before = sorted(tmp_path.rglob("*"))
        defaults = ["--model", model or tiny_sd.path, "--steps", 1, "--height", 32, "--width", 32]
        defaults += ["--out", tmp_path / "picture.png"]
        found, out, err = sfumato("generate", prompt, *defaults, *arguments)
        sentence = one_sentence(err)
        assert (found, out) == (code, ""), sentence
        assert prompt not in err or not prompt
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        assert all(clouds.closed for clouds in local_clouds)
        return sentence

    return run


def one_sentence(stderr: str) -> str:
    """The sentence, if stderr is nothing but ``Error:`` and one sentence."""
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in stderr
    return lines[0].removeprefix("Error: ")
