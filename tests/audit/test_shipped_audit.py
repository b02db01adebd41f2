"""Which rows of the shipped audit a run's report carries, and how they differ from the run."""

import subprocess
import sys
from dataclasses import replace

import pytest

from sfumato.audit.shipped import MadeNow, told_by_audit
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.strip_split.spec import StripSplit

NOW = MadeNow(spec=LayerSplit(num_clouds=4), model_fingerprint="a", num_inference_steps=8)


def row(spec, setting):
    return {
        "protocol": spec.name,
        "setting": setting,
        "spec": spec.to_dict(),
        "verdict": "leaks",
        "made_with": {"model_fingerprint": "a", "num_inference_steps": 8},
    }


ROWS = [
    row(LayerSplit(num_clouds=2), "two"),
    row(LayerSplit(num_clouds=4), "four"),
    row(LayerSplit(num_clouds=4, merge="paper"), "paper"),
    row(Plain(), "plain"),
]


def test_rows_of_the_same_setting():
    told = told_by_audit([NOW], ROWS)
    assert told["audit"] == [{**ROWS[1], "differs": []}]
    assert told["audit_about"] == "Measured with four, as here; not on this run."


def test_what_was_not_varied_may_differ_and_is_named():
    run = replace(NOW, spec=LayerSplit(num_clouds=4, wire_dtype="fp16"), num_inference_steps=30, model_fingerprint="b")
    told = told_by_audit([run], ROWS)
    (found,) = told["audit"]
    assert (found["setting"], found["differs"]) == ("four", ["spec.wire_dtype", "model", "steps"])
    assert told["audit_about"].endswith("which differs in model, spec.wire_dtype, steps.")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (LayerSplit(num_clouds=3), "no setting of layer-split like this one; it measured: two; four; paper"),
        (StripSplit(num_clouds=4), "no rows of strip-split"),
    ],
)
def test_no_row_stands_for_what_was_not_measured(spec, said):
    told = told_by_audit([replace(NOW, spec=spec)], ROWS)
    assert told["audit"] == []
    assert said in told["audit_about"]


def test_runs_of_two_protocols_have_rows_of_both():
    told = told_by_audit([NOW, replace(NOW, spec=Plain())], ROWS)
    assert [each["setting"] for each in told["audit"]] == ["four", "plain"]


def test_without_an_audit_it_is_said():
    assert told_by_audit([NOW], []) == {
        "audit": [],
        "audit_about": "No audit comes with this version of sfumato.",
    }


def test_shipped_rows_are_read_without_the_libraries_of_an_audit():
    ask = (
        "import sys; sys.modules.update(dict.fromkeys(['polars', 'scipy', 'jinja2', 'matplotlib']))\n"
        "from sfumato.audit.shipped import MadeNow, told_by_audit\n"
        "from sfumato.protocols.specs import SPECS\n"
        "for kind in SPECS.values():\n"
        "    told = told_by_audit([MadeNow(spec=kind(), model_fingerprint='', num_inference_steps=8)])\n"
        "    assert set(told) == {'audit', 'audit_about'}\n"
    )
    subprocess.run([sys.executable, "-c", ask], check=True, timeout=100)
