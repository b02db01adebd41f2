"""Counts the word pairs of the bundled prior over candidate prompts.

Reads a folder of CSV files with a column "prompt". Each prompt that names an attribute of a person is put into the
taxonomy's words, words outside a fixed vocabulary are dropped, and pairs of neighbours are counted over all prompts: no
prompt can be read from the table.

    python training/prompt_prior.py FOLDER
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from sfumato.protocols.prompt_set.candidates import prior
from sfumato.protocols.prompt_set.candidates.candidate_set import own_words

TABLE = Path(prior.__file__).with_name("prior.tsv")


def prompts(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as lines:
            yield from (row["prompt"] for row in csv.DictReader(lines) if row.get("prompt"))


def count_pairs(folder: Path) -> tuple[Counter[tuple[str, str]], int]:
    counts, read = Counter[tuple[str, str]](), 0
    for prompt in prompts(folder):
        try:
            text = own_words(prompt)
        except ValueError:  # two values of one type, or no value: no prompt that a set could be made of
            continue
        if text is None:
            continue
        words = [prior.BEGIN, *prior.kept_words(text, prior.prior_vocabulary()), prior.END]
        counts.update(pairwise(words))
        read += 1
    return counts, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    counts, read = count_pairs(parser.parse_args().folder)
    lines = [f"# neighbours among the words that the prior counts, in {read} prompts; training/prompt_prior.py"]
    lines += [f"{first}\t{second}\t{count}" for (first, second), count in sorted(counts.items())]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TABLE.name}: {len(counts)} pairs from {read} prompts")


if __name__ == "__main__":
    main()
