"""The report of an audit: well-formed, alone, right, and never sure where a control failed."""

import json
import re
from html.parser import HTMLParser

import pytest

from made_audit import MadeAudit
from sfumato.audit.leakage import Verdict
from sfumato.audit.report import summary_table, write_report
from sfumato.audit.report.curves import curves
from sfumato.audit.report.findings import read_findings
from sfumato.audit.report.ranking import headlines, matrix, worst
from sfumato.audit.report.reconstructions import reconstructions
from sfumato.audit.report.wording import interval, number, signed
from sfumato.audit.store import Store
from sfumato.audit.tables import lines
from sfumato.errors import ExperimentError
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain

HOSTILE = "<script>alert('x')</script><img src=x onerror=y>&"
VOID = {"meta", "img", "br", "wbr", "link", "input", "hr"}


class Page(HTMLParser):
    """Keeps tables as text, checks that elements close in order, and collects what refers to something."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and self.rows[-1] and "table" in self.open:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())

    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    made = MadeAudit(folder)
    made.attack(Plain(), leakage=12.0)
    for spec in (LayerSplit(num_clouds=2), LayerSplit(num_clouds=4), LayerSplit(num_clouds=4, merge="paper")):
        for step in (1, 4, 8):
            made.attack(spec, "finish", leakage=step / spec.num_clouds, step=step)
        made.attack(spec, "finish", leakage=8.0, clouds="1,2", step=8)
        made.attack(spec, "nothing", leakage=0.0)
    split = LayerSplit(num_clouds=4)
    for layer in ("up.10", "down.2", "up.9"):
        made.attack(split, "deep", leakage=1.5, layer=layer)
    made.attack(split, "weak", leakage=3.25, clear=0.0)
    made.attack(
        split, "eager", secret="prompt", metric="tokens", leakage=0.5, noise=0.4, prior=0.1, spread=0.05, clear=0.9
    )
    made.attack(
        split, "ranking", secret="choice", metric="right", leakage=0.6, prior=0.1, spread=0.1, clear=0.9, choices=10
    )
    made.attack(split, "dollars", leakage=0.2, step=1, words="$\\no$")
    made.attack(split, "dollars", leakage=0.3, step=2, words="$\\no$")
    made.attack(split, HOSTILE, leakage=2.0, words=HOSTILE)
    made.lack(split, HOSTILE, f"this cloud is not shown {HOSTILE}", secret="seed")
    made.pictures(split, "finish", step=8)
    made.pictures(split, "finish", step=1)
    made.pictures(split, HOSTILE, words=HOSTILE)
    return folder


@pytest.fixture(scope="module")
def findings(out):
    return read_findings(out)


@pytest.fixture(scope="module")
def html(out):
    assert [path.name for path in write_report(out)] == ["report.html", "report.json", "rows.jsonl"]
    return (out / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_elements_close_in_order_and_ids_are_met_once(page):
    assert page.open == []
    assert len(page.ids()) == len(set(page.ids()))
    inner = [attrs["href"][1:] for tag, attrs in page.tags if tag == "a"]
    assert inner
    assert set(inner) <= set(page.ids())


def test_a_page_needs_nothing_outside_itself(html, page):
    assert "://" not in html
    assert not re.search(r"url\((?!#)|@import", html)
    for tag, attrs in page.tags:
        assert tag not in {"script", "link", "iframe", "object"}
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:image/webp;base64,"))


def test_every_line_is_told_with_its_numbers(page, findings):
    told = [row for row in page.rows if len(row) == 11 and row[1] != "Attack"]
    for line, row in zip(findings.lines, told, strict=True):
        assert row[0].startswith(line.secret)
        assert row[1].startswith(line.attack)
        assert row[2].split(" ", 1)[1] == line.clouds.replace(",", ", ")
        assert row[3] == f"{signed(line.row.leakage, line.metric)} {interval(line.row.interval, line.metric)}"
        assert row[5:8] == [*(number(x, line.metric) for x in (line.row.guess, line.row.prior_only)), "20"]
        assert row[10].startswith(line.verdict.value)
    (first,) = [row for row in told if row[2] == "cloud 1" and row[1] == "predictions"]
    assert (first[0], first[3].split(" ")[0], first[8].split(" ")[0]) == ("picture PSNR, dB", "+12.00", "+12.00")


def test_a_failed_control_is_inconclusive_with_its_reason_and_never_no_leakage(html, page):
    assert "no leakage" not in html.lower()
    (weak,) = [row for row in page.rows if len(row) == 11 and row[1] == "weak"]
    assert weak[10] == "inconclusive it found nothing where nothing is hidden"
    (eager,) = [row for row in page.rows if len(row) == 11 and row[1] == "eager"]
    assert eager[10] == "inconclusive it found something in noise"
    overview = page.rows[1 : page.rows.index(next(row for row in page.rows if len(row) == 11))]
    (cell,) = [cell for row in overview for cell in row if "eager" in cell]
    assert cell == "inconclusive eager", "a row that says nothing shows no figure"


def test_hostile_words_stay_words(html, page):
    assert "<script" not in html
    assert "&lt;script&gt;alert" in html
    assert not [attrs for tag, attrs in page.tags if tag == "img" and not attrs["src"].startswith("data:")]


def test_the_worst_row_is_one_that_leaks(findings):
    own = [line for line in findings.lines if line.metric == "psnr"]
    assert worst(own).row.leakage == pytest.approx(12.0)
    assert worst([line for line in own if line.attack == "weak"]).verdict is Verdict.INCONCLUSIVE
    sure = worst([line for line in own if line.attack in ("weak", "nothing")])
    assert sure.verdict is Verdict.NOTHING_FOUND, "3.25 dB that no control stands by are not a finding"
    assert worst([]) is None


def test_the_overview_has_a_row_for_each_setting_and_coalition_size(findings):
    columns = headlines(findings)
    assert [(column.secret, column.metric) for column in columns] == [
        ("picture", "psnr"),
        ("prompt", "tokens"),
        ("choice", "right"),
        ("seed", "exact"),
    ]
    found = {(row.setting, row.size): row.cells for row in matrix(findings, columns)}
    assert list(found) == [
        ("plain", 1),
        ("layer-split num_clouds=2", 1),
        ("layer-split num_clouds=2", 2),
        ("layer-split", 1),
        ("layer-split", 2),
        ("layer-split merge=paper", 1),
        ("layer-split merge=paper", 2),
    ]
    picture, prompt, _, seed = found["layer-split", 1]
    assert (picture.num_rows, picture.num_inconclusive) == (11, 1)
    assert picture.line.row.leakage == pytest.approx(2.0)
    assert prompt.line.verdict is Verdict.INCONCLUSIVE
    assert (seed.line, seed.has_lacks) == (None, True)


def test_curves_by_step_layer_clouds_and_coalition(findings):
    rows = [line for line in findings.lines if line.protocol == "layer-split"]
    found = {curve.title: curve for curve in curves(rows, headlines(findings))}
    steps = found["Picture, PSNR: by step, finish"]
    assert [series.name for series in steps.series] == [
        "layer-split num_clouds=2",
        "layer-split",
        "layer-split merge=paper",
    ]
    assert [(p.x, round(p.line.row.leakage, 3)) for p in steps.series[0].points] == [(1, 0.5), (4, 2), (8, 4)]
    assert found["Picture, PSNR: by layer, deep"].ticks == ("down.2", "up.9", "up.10")
    (clouds,) = found["Picture, PSNR: by number of clouds, largest of all attacks"].series
    assert [(p.x, round(p.line.row.leakage, 3)) for p in clouds.points] == [(2, 4), (4, 2)]
    together = found["Picture, PSNR: by coalition, largest of all attacks"].series[0]
    assert [(p.x, round(p.line.row.leakage, 3)) for p in together.points] == [(1, 4), (2, 8)]
    assert not [title for title in found if "eager" in title]


def test_pictures_are_of_the_worst_settings_of_each_attack(findings):
    found = reconstructions(findings, "layer-split")
    assert [column.attack.split(" ")[-1] for column in found.columns][1] == "step=8"
    assert len(found.people) == 4
    assert all(pair is not None for person in found.people for pair in person.pairs)
    assert reconstructions(findings, "plain") is None


def test_json_has_every_line_and_which_are_worst(out, html, findings):
    told = json.loads((out / "report.json").read_text())
    assert set(told) == {
        *("format", "sfumato", "made_with", "settings", "attacks", "lines", "worst", "lacks", "warnings")
    }
    assert told["lines"] == json.loads(json.dumps([line.to_dict() for line in findings.lines]))
    assert len(told["lines"]) == len(lines(Store.of(out).rows.read()))
    assert {told["lines"][place]["verdict"] for place in told["worst"]} == {"leaks", "inconclusive"}
    (split,) = [each for each in told["settings"] if each["setting"] == "layer-split"]
    assert split["claim"] == LayerSplit(num_clouds=4).claim
    assert len(split["seen_by"]) == 4
    shipped = [json.loads(row) for row in (out / "rows.jsonl").read_text().splitlines()]
    assert [{**row, "made_with": None} for row in shipped] == [
        {**told["lines"][place], "made_with": None} for place in told["worst"]
    ]
    assert {row["made_with"]["num_inference_steps"] for row in shipped} == {8}


def test_the_reader_is_warned(findings):
    assert any("inconclusive" in sentence for sentence in findings.warnings)
    assert any("rest on 20 to 49 secrets" in sentence for sentence in findings.warnings)


def test_the_table_tells_the_worst(out):
    table = summary_table(out)
    told = list(zip(*(column._cells for column in table.columns), strict=True))
    assert told[0][:4] == ("plain", "cloud 1", "picture: PSNR, dB", "+12.00")
    assert ("one cloud", "seed", "", "", "nothing to work on") in [row[1:6] for row in told]
    (failed,) = [row for row in told if "prompt" in row[2]]
    assert failed[3:5] == ("", "")
    assert "inconclusive" in failed[5]


def test_a_secret_that_nothing_works_on_is_told_once(tmp_path):
    made = MadeAudit(tmp_path)
    made.attack(Plain(), leakage=12.0)
    made.attack(Plain(), metric="attributes", leakage=0.5, prior=0.3, spread=0.1, clear=0.5)
    made.lack(LayerSplit(num_clouds=4), "predictions", "this cloud is not shown predictions")
    secrets = list(summary_table(tmp_path).columns[2].cells)
    assert secrets == ["picture: PSNR, dB", "picture: attributes alike, %", "picture"]


def test_single_secrets_are_no_rows_and_it_is_said(tmp_path):
    MadeAudit(tmp_path).attack(Plain(), leakage=1.0, num=1)
    write_report(tmp_path)
    (said,) = json.loads((tmp_path / "report.json").read_text())["warnings"]
    assert said.startswith("plain: a single secret")


def test_an_empty_folder_is_no_audit(tmp_path):
    with pytest.raises(ExperimentError, match="holds no rows of an audit"):
        write_report(tmp_path)
