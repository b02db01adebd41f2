"""``sfumato prompts`` in this process: it needs no model."""

import json

import pytest
from typer.testing import CliRunner

from sfumato.cli.app import app


def run(*arguments: str, columns: int = 80) -> str:
    done = CliRunner().invoke(app, ["prompts", *arguments], env={"COLUMNS": str(columns)})
    if done.exception:
        raise done.exception
    return done.stdout


@pytest.mark.parametrize("columns", [80, 160])
def test_the_preview_marks_pivot_and_own_and_says_what_is_open(columns):
    shown = run("a bearded 70-year-old man in Paris", columns=columns)
    assert max(map(len, shown.splitlines())) <= columns
    assert "0   pivot   a bearded middle-aged man in Paris" in shown
    assert "2   yours   a bearded old man in Paris" in shown
    for line in ("70-year-old   age      hidden; yours is old", "Paris         place    not hidden", "suggests male"):
        assert line in shown
    assert "6 candidates, as hard to guess as" in shown


def test_json_has_the_documented_fields():
    shown = json.loads(run("an elderly lady with a beard by Ada Lovelace", "--format", "json"))
    assert shown["attributes"] == {"age": "old", "gender": "female"}
    assert shown["candidates"][shown["index"]] == "an old lady with a beard by Ada Lovelace"
    assert shown["candidates"] == sorted(shown["candidates"])
    assert shown["pivot"] == 0
    assert sum(shown["posterior"]) == pytest.approx(1, abs=1e-5)
    assert shown["effective_candidates"] == pytest.approx(1 / max(shown["posterior"]), abs=1e-2)
    assert shown["not_covered"] == [{"words": "Ada Lovelace", "start": 32, "kind": "name"}]
    assert [(c["words"], c["values"], c["covered"]) for c in shown["correlates"]] == [("beard", ["male"], True)]
    assert [c["words"] for c in shown["covered"]] == ["elderly", "lady"]


def test_without_attributes_plain_has_to_be_said():
    with pytest.raises(ValueError, match="names no attribute"):
        run("a bowl of fruit")
    assert "the cloud reads the prompt as it is" in " ".join(
        run("a bowl of fruit", "--on-no-attribute", "plain").split()
    )


def test_a_taxonomy_file_is_read(tmp_path):
    (tmp_path / "own.toml").write_text('[types.hair]\nvalues = ["blond", "brunette"]\n')
    shown = json.loads(run("a blond woman", "--taxonomy", str(tmp_path / "own.toml"), "--format", "json"))
    assert shown["attributes"] == {"gender": "female", "hair": "blond"}
    with pytest.raises(ValueError, match="max_candidates is 2: leave hair out of the prompt for 2"):
        run("a blond woman", "--taxonomy", str(tmp_path / "own.toml"), "--max-candidates", "2")
    with pytest.raises(FileNotFoundError):
        run("a blond woman", "--taxonomy", "/nosuch.toml")
