"""The plan compares counted costs, recommends the fastest exact one, and says why."""

import json
import shlex
from dataclasses import asdict, replace

import pytest
import typer
from typer.testing import CliRunner

from sfumato.cost.candidates import CLOUDS, WIRES, Candidate, candidates
from sfumato.cost.counting import count_cost
from sfumato.cost.link import FIVE_G, Link
from sfumato.cost.plan_table import command, notes
from sfumato.cost.planning import Conditions, hides_less, make_plan, reason
from sfumato.cost.speeds import Speeds
from sfumato.models.folder import find_architecture
from sfumato.protocols.settings import parse_spec
from sfumato.protocols.specs import find_spec
from sfumato.protocols.strip_split.spec import StripSplit

TINY = find_architecture("tiny-sd")
STRONG, WEAK = Speeds(client_gflops=1e6), Speeds(client_gflops=0.02)


def strips(*pairs, n=2):
    return Candidate(StripSplit, n, pairs)


def every_of(compared):
    return tuple(sorted({c.spec().attention_every for c in compared if not c.is_reference}))


FOUR = [strips(f"attention={a}", f"wire={w}") for a in ("fused", "qkv") for w in ("fp16", "int8")]


def planned(compared, link=FIVE_G, **conditions):
    return make_plan(Conditions(model=TINY, link=link, **conditions), compared)


class TestCandidates:
    def test_none_hides_less_than_the_defaults(self):
        for candidate in candidates(CLOUDS, WIRES, ()):
            assert candidate.is_reference or hides_less(candidate.spec()) == []

    def test_the_defaults_are_among_them(self):
        assert StripSplit() in [c.spec() for c in candidates(CLOUDS, WIRES, ())]

    def test_what_is_fixed_is_not_varied(self):
        found = candidates((4,), WIRES, ("attention=hidden", "num_columns=4"))
        assert [c.spec() for c in found if not c.is_reference] == [
            StripSplit(attention="hidden", num_columns=4, wire=wire) for wire in WIRES
        ]
        attentions = {c.spec().attention for c in candidates((4,), WIRES, ("stem=clouds",)) if not c.is_reference}
        assert attentions == {"fused", "qkv"}
        wires = {c.spec().wire for c in candidates((4,), WIRES, ("wire=fp32",)) if not c.is_reference}
        assert wires == {"fp32"}
        assert {every_of(candidates((4,), WIRES, (f"attention_every={k}",))) for k in "13"} == {(1,), (3,)}

    def test_attention_is_used_again_only_beside_a_lossy_wire(self):
        found = [c for c in candidates(CLOUDS, WIRES, ()) if every_of([c]) == (2,)]
        assert [(c.num_clouds, c.spec().wire) for c in found] == [(CLOUDS[0], "int8")]
        assert every_of(candidates(CLOUDS, ("fp16", "fp32"), ())) == (1,)


class TestPlan:
    def test_rows_are_counted_costs_fastest_first(self):
        plan = planned(FOUR, speeds=STRONG)
        assert [c.cost for c in plan.choices] == sorted(
            (count_cost(TINY, c.spec(), FIVE_G, speeds=STRONG) for c in FOUR), key=lambda cost: cost.seconds_per_step
        )

    def test_a_strong_client_attends_and_a_weak_one_computes_products_only(self):
        assert planned(FOUR, speeds=STRONG).recommended.spec.attention == "fused"
        assert planned(FOUR, speeds=WEAK).recommended.spec.attention == "qkv"

    def test_a_lossy_wire_is_not_recommended_unasked(self):
        slow = Link(up_mbit=1, down_mbit=1, rtt_milliseconds=1)
        plan = planned(FOUR, slow, speeds=STRONG)
        assert (plan.recommended.spec.wire, plan.faster_lossy.spec.wire) == ("fp16", "int8")
        assert plan.faster_lossy is plan.choices[0]
        asked = planned([c for c in FOUR if c.spec().wire == "int8"], slow, speeds=STRONG)
        assert asked.recommended.spec.wire == "int8"
        assert asked.faster_lossy is None

    def test_what_is_lossy_in_more_ways_is_not_recommended_unasked(self):
        exact, wire, both = strips(), strips("wire=int8"), strips("wire=int8", "attention_every=2")
        slow = Link(up_mbit=1, down_mbit=1, rtt_milliseconds=1)
        plan = planned([exact, wire, both], slow, speeds=STRONG)
        assert [c.spec for c in plan.choices] == [both.spec(), wire.spec(), exact.spec()]
        assert (plan.recommended.spec, plan.faster_lossy.spec) == (exact.spec(), wire.spec())
        asked = planned([wire, both], slow, speeds=STRONG)
        assert (asked.recommended.spec, asked.faster_lossy.spec) == (wire.spec(), both.spec())
        assert asked.recommended.losses == ["wire"]
        conditions = Conditions(model=TINY, link=slow, speeds=STRONG)
        said = " ".join(notes(asked, conditions))
        assert "the mean of a cycle with attention_every" in said
        assert "what attention gave is used again" in said

    def test_halves_that_overlap_are_faster_though_each_part_is_not(self):
        far = Link(up_mbit=1, down_mbit=1, rtt_milliseconds=1)
        plan = planned([strips("overlap=halves"), strips()], far, speeds=WEAK)
        overlapping, plain = (c.cost for c in plan.choices)
        assert plan.recommended.settings == ["overlap=halves"]
        assert overlapping.step_seconds.overlapped > 0 == plain.step_seconds.overlapped
        assert overlapping.rounds > plain.rounds

    @pytest.mark.parametrize(("behind", "settings"), [(1.01, []), (1.03, ["attention=qkv"])])
    def test_of_settings_about_as_fast_the_one_nearest_the_defaults_is_taken(self, monkeypatch, behind, settings):
        def count(*args, **kwargs):
            cost = count_cost(*args, **kwargs)
            return replace(cost, seconds_per_step=behind if cost.spec["attention"] == "fused" else 1.0)

        monkeypatch.setattr("sfumato.cost.planning.count_cost", count)
        plan = planned([FOUR[0], FOUR[2]], speeds=STRONG)
        assert plan.choices[0].settings == ["attention=qkv"]
        assert plan.recommended.settings == settings

    def test_a_reference_is_shown_and_never_recommended(self):
        reference = Candidate(find_spec("plain"), 1, (), is_reference=True)
        plan = planned([reference, FOUR[0]], speeds=STRONG)
        assert plan.choices[0].is_reference
        assert plan.recommended is plan.choices[1]
        with pytest.raises(ValueError, match=r"^strip-split: num_clouds must be a multiple of 3"):
            planned([reference, strips("num_columns=3")], speeds=STRONG)

    def test_one_setting_in_other_words_is_one_row(self):
        assert len(planned([strips("attention=fused"), strips("wire=fp16")], speeds=STRONG).choices) == 1

    def test_what_does_not_fit_is_left_out_with_its_reason(self):
        # A latent of 2 rows, of which the deepest map has 1.
        compared = [FOUR[0], FOUR[2], strips("num_columns=3"), strips("num_columns=1")]
        compared[:2] = [strips(*c.pairs, "num_columns=2") for c in compared[:2]]
        plan = planned(compared, speeds=STRONG, height=4)
        held = sorted(c.cost.compute.client_weight_bytes for c in plan.choices)
        assert len(held) == 2
        assert [x.setting for x in plan.left_out] == [str(c) for c in compared[2:]]
        assert "num_clouds must be a multiple of 3" in plan.left_out[0].reason
        assert "at most 1 tiles down, got 2" in plan.left_out[1].reason
        less = planned(compared, speeds=STRONG, height=4, client_memory_bytes=held[0])
        assert less.recommended.spec.attention == "qkv"
        assert f"{held[1] / 1e6:.1f} MB of weights, and --client-memory is {held[0] / 1e6:.1f} MB" in " ".join(
            x.reason for x in less.left_out
        )

    @pytest.mark.parametrize(
        ("link", "speeds", "bound"),
        [
            (Link(up_mbit=1, down_mbit=1e6, rtt_milliseconds=1), STRONG, "the uplink"),
            (Link(up_mbit=1e6, down_mbit=1, rtt_milliseconds=1), STRONG, "the downlink"),
            (Link(up_mbit=1e6, down_mbit=1e6, rtt_milliseconds=100), STRONG, "round trips"),
            (Link(up_mbit=1e6, down_mbit=1e6, rtt_milliseconds=1), WEAK, "the client's computing"),
            (FIVE_G, Speeds(client_gflops=1e6, cloud_gflops=1e-3), "the busiest cloud's computing"),
        ],
    )
    def test_the_reason_names_what_takes_longest(self, link, speeds, bound):
        assert reason(planned(FOUR[:1], link, speeds=speeds).recommended).startswith(f"Bound by {bound}, ")

    def test_the_reason_names_two_that_take_about_as_long(self):
        alike = Link(up_mbit=1, down_mbit=1, rtt_milliseconds=0)
        said = reason(planned(FOUR[:1], alike, speeds=STRONG).recommended)
        assert "the uplink, " in said
        assert "the downlink, " in said
        assert ", and by the " in said

    def test_a_picture_is_its_steps_and_what_a_run_spends_once(self):
        choice = planned(FOUR[:1], speeds=WEAK).recommended
        once = choice.cost.once
        expected = 7 * choice.cost.seconds_per_step + once.seconds + once.client_seconds
        assert choice.picture_seconds(7) == pytest.approx(expected)


class TestWhatIsSaid:
    def test_what_hides_less_is_said(self):
        assert hides_less(StripSplit()) == []
        assert any("text embedding" in s for s in hides_less(StripSplit(cross_attention="cloud")))
        assert hides_less(StripSplit(num_clouds=2)) == ["Each cloud sees 1/2 of the picture, where the default is 1/4."]
        assert hides_less(StripSplit(num_clouds=8)) == []

    def test_clouds_that_meet_are_compared_only_where_they_are_asked_for(self):
        assert all(c.is_reference or c.spec().borders == "client" for c in candidates(CLOUDS, WIRES, ()))
        (asked, *_) = candidates((2,), ("fp16",), ("borders=direct",))
        plan = planned([asked], speeds=Speeds())
        assert plan.recommended.spec.borders == "direct"
        found = notes(plan, Conditions(model=TINY, link=FIVE_G, speeds=Speeds()))
        assert sum("Not hidden with these settings" in note for note in found) == 3, "fewer tiles, and two of meeting"
        assert "exchange between clouds" in found[0]

    def test_the_command_makes_the_same_spec(self):
        conditions = Conditions(model=TINY, link=FIVE_G, speeds=STRONG, height=32)
        pairs = ("num_columns=2", "attention=qkv", "wire=int8", "cross_attention=cloud")
        choice = make_plan(conditions, [strips(*pairs)]).recommended
        words = shlex.split(command(choice, conditions))
        given = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        num_clouds = len(words[words.index("--clouds") + 1].split(","))
        assert parse_spec(find_spec(words[words.index("--protocol") + 1]), given, num_clouds) == choice.spec
        assert words[words.index("--height") + 1] == "32"
        assert words[words.index("--model") + 1] == "MODEL", "an architecture has no weights to run"

    def test_a_client_of_unknown_speed_and_the_pooled_text_are_noted(self):
        unknown = Conditions(model=TINY, link=FIVE_G, speeds=Speeds())
        assert any("Give --client-gflops" in n for n in notes(make_plan(unknown, FOUR[:1]), unknown))
        sdxl = Conditions(model=find_architecture("tiny-sdxl"), link=FIVE_G, speeds=STRONG)
        said = notes(make_plan(sdxl, FOUR[:1]), sdxl)
        assert any("pooled text reaches every cloud" in n for n in said)
        assert not any("Give --client-gflops" in n for n in said)


def run_plan(*arguments):
    from sfumato.cli.plan import plan

    app = typer.Typer()
    app.command()(plan)
    return CliRunner().invoke(app, ["--model", "tiny-sd", *arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def as_json():
    return json.loads(run_plan("--clouds", "2", "--wire", "fp16", "--client-gflops", "5", "--format", "json").stdout)


def test_json_keeps_its_contract(as_json):
    assert set(as_json) == {
        *("model", "height", "width", "link", "speeds", "steps", "recommended", "faster_lossy", "choices"),
        *("left_out", "notes"),
    }
    recommended = as_json["recommended"]
    assert {"protocol", "clouds", "options", "result", "seconds_per_step", "command", "reason"} <= set(recommended)
    assert as_json["faster_lossy"] is None
    assert as_json["speeds"] == asdict(Speeds(client_gflops=5.0))
    exact = [c for c in as_json["choices"] if not c["reference"]]
    assert exact[0]["seconds_per_step"] == recommended["seconds_per_step"]
    assert {c["cost"]["spec"]["attention"] for c in exact} == {"fused", "qkv"}
    assert [c["protocol"] for c in as_json["choices"] if c["reference"]] == ["layer-split"]
    for choice in as_json["choices"]:
        assert choice["seconds_per_step"] == choice["cost"]["seconds_per_step"]
    assert "Each cloud sees 1/2 of the picture" in recommended["hides_less"][0]


def test_the_table_shows_every_row_and_the_recommendation():
    shown = " ".join(run_plan("--clouds", "2", "--client-gflops", "5", "--steps", "7").stdout.split())
    for text in ("fp16 exact", "int8 lossy", "layer-split*", "overlap=halves", "Bound by"):
        assert text in shown
    assert "Recommended: sfumato generate PROMPT --model MODEL --protocol strip-split" in shown
    assert "A picture of 7 steps takes" in shown
    assert "Not hidden with these settings: Each cloud sees 1/2" in shown


WRONG = {
    "no clouds": (["--clouds", "0"], "--clouds takes one or more numbers"),
    "no link": (["--link", "4g"], "link must be 5g or UP/DOWN/RTT"),
    "no speed": (["--client-gflops", "0"], "--client-gflops must be a positive number of GFLOP a second, got 0"),
    "no size": (["--client-memory", "much"], "--client-memory must be a size such as 2GB or 512MiB, got 'much'"),
    "no format": (["--wire", "fp16,fp7"], "--wire must be among fp32, fp16, int8, got fp7"),
    "format twice": (["--wire", "int8", "--set", "wire=fp16"], "wire is given twice, as --wire and --set"),
    "no field": (["--set", "halo=2"], "strip-split has no setting 'halo'"),
    "odd height": (["--height", "33"], "height and width must be positive multiples of 2"),
    "nothing fits": (["--clouds", "2", "--client-memory", "1KB"], "MB of weights, and --client-memory is 0.0 MB"),
    "too many clouds": (["--clouds", "2", "--height", "2", "--width", "2"], "can be cut into at most"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage(name):
    arguments, sentence = WRONG[name]
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        run_plan(*arguments)


@pytest.mark.parametrize(("text", "size"), [("2GB", 2e9), ("512MiB", 512 << 20), ("1.5 gib", 1.5 * 2**30), ("7", 7)])
def test_sizes(text, size):
    from sfumato.cli.plan import _size

    assert _size(text) == size
