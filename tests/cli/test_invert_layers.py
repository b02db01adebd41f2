"""``sfumato invert --list-layers``."""

import json

import pytest
import typer
from typer.testing import CliRunner

from sfumato.attacks.targets.random_target import write_random_target
from sfumato.cli.invert import invert
from sfumato.errors import ModelError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_random_target("tiny-vit", tmp_path_factory.mktemp("target") / "vit")


def run(*arguments):
    app = typer.Typer()
    app.command()(invert)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False).stdout


def test_the_table_names_the_papers_layers_and_both_ends(folder):
    shown = run("--list-layers", folder)
    assert [line.split()[1] for line in shown.splitlines()[3:-1]] == ["input", "L1", "L2", "L3", "output"]
    assert "17 x 16" in shown
    assert "3 x 32 x 32" in shown


def test_json_has_every_layer_on_request(folder):
    rows = json.loads(run("--list-layers", folder, "--all-layers", "--format", "json"))
    assert {"vit.layers.0.attention.q_proj", "L3"} <= {row["name"] for row in rows}
    assert rows[0] == {
        "name": "input",
        "path": "input",
        "kind": "input",
        "shapes": [[1, 3, 32, 32]],
        "num_parameters_before": 0,
    }


def test_an_unknown_target_is_told():
    with pytest.raises(ModelError, match="no target 'nothing': give a folder"):
        run("--list-layers", "nothing")
