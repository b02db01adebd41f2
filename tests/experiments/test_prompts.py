from pathlib import Path

import pytest

from experiments.conftest import write_csv
from sfumato.experiments.prompts import read_prompt_set


def test_reads_files_in_turn_and_keeps_every_row(tmp_path: Path) -> None:
    files = [write_csv(tmp_path / "a.csv", 30), write_csv(tmp_path / "b.csv", 20, "a woman")]
    found = read_prompt_set("art", files)
    by_place = sorted(found.prompts, key=lambda p: p.index)
    assert [p.text for p in by_place[28:32]] == [f"a man, number {i}" for i in (28, 29)] + [
        f"a woman, number {i}" for i in (0, 1)
    ]
    assert [p.seed for p in by_place[:3]] == [100, 101, 102]


def test_order_is_shuffled_and_never_changes(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", 50)
    first = read_prompt_set("art", [file])
    assert first == read_prompt_set("art", [file])
    places = [p.index for p in first.prompts]
    assert places != sorted(places)
    # Pinned: a sweep that was begun must find its prompts again after an update.
    assert places[:6] == [22, 25, 4, 23, 12, 33]


def test_digest_sees_texts_seeds_and_number(tmp_path: Path) -> None:
    digests = set()
    for name, content in {
        "one": "prompt,evaluation_seed\na,1\n",
        "text": "prompt,evaluation_seed\nb,1\n",
        "seed": "prompt,evaluation_seed\na,2\n",
        "more": "prompt,evaluation_seed\na,1\na,1\n",
    }.items():
        (tmp_path / name).write_text(content)
        digests.add(read_prompt_set("x", [tmp_path / name]).digest)
    assert len(digests) == 4


def test_quoted_commas_line_breaks_and_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes('\ufeffevaluation_seed,prompt\n7,"a man,\nin ""red"""\n'.encode())
    (found,) = read_prompt_set("x", [file]).prompts
    assert (found.text, found.seed) == ('a man,\nin "red"', 7)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"prompt,seed\na,1\n", "has no column evaluation_seed"),
        (b"", "has no column prompt and no column evaluation_seed"),
        (b"prompt,evaluation_seed\n", "is empty"),
        (b"prompt,evaluation_seed\na,1\n,2\n", "line 3: the prompt is empty"),
        (b"prompt,evaluation_seed\na,one\n", "line 2: evaluation_seed must be a whole number"),
        (b"prompt,evaluation_seed\na,-1\n", r"in \[0, 2\*\*63\), got '-1'"),
        (b"prompt,evaluation_seed\na,9223372036854775808\n", "evaluation_seed must be"),
        (b"prompt,evaluation_seed\na\n", "line 2: evaluation_seed must be"),
        (b"prompt,evaluation_seed\n\xff\xfe,1\n", "not a text file in UTF-8"),
        (b'prompt,evaluation_seed\n"a,1\n', "cannot be read as CSV"),
    ],
)
def test_bad_files_are_refused_with_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_prompt_set("x", [tmp_path / "x.csv"])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"prompts cannot be read from .*nowhere.csv: No such file"):
        read_prompt_set("x", [tmp_path / "nowhere.csv"])
