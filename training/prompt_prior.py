"""Counts the bundled prior over candidate prompts.

Reads a folder of CSV files with a column "prompt". Each prompt that names an attribute of a person is put into the
taxonomy's words, and what `events` lists is counted over all of them: values behind values, and which words of a fixed
list go with them. No prompt can be read from the table.

    python training/prompt_prior.py FOLDER

``--check`` counts four fifths instead, writes nothing and prints what the rest says of the prior: the log-loss of the
own candidate, how often it is the likeliest, and how likely the likeliest was said to be.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from math import log
from pathlib import Path

from sfumato.protocols.prompt_set.candidates import prior
from sfumato.protocols.prompt_set.candidates.candidate_set import candidate_set, own_words

TABLE = Path(prior.__file__).with_name("prior.tsv")


def prompts(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as lines:
            yield from (row["prompt"] for row in csv.DictReader(lines) if row.get("prompt"))


def own_texts(folder: Path) -> Iterator[str]:
    for prompt in prompts(folder):
        try:
            text = own_words(prompt)
        except ValueError:  # two values of one type, or no value: no prompt that a set could be made of
            continue
        if text is not None:
            yield text


def count(texts: Iterable[str]) -> Counter[prior.Event]:
    return Counter(event for text in texts for event in prior.events(text))


def check(texts: list[str]) -> str:
    model = prior.CountedPrior(count(text for i, text in enumerate(texts) if i % 5))
    losses, hits, likeliest = [], 0, 0.0
    for text in texts[::5]:
        try:
            own = candidate_set(text)
        except ValueError:  # a word that was said of a thing is gone
            continue
        probabilities = prior.posterior(own.prompts, model)
        losses.append(-log(probabilities[own.index]))
        hits += probabilities[own.index] == max(probabilities)
        likeliest += max(probabilities)
    number = len(losses)
    return (
        f"{number} prompts: {sum(losses) / number:.3f} nats, {hits / number:.1%} guessed, {likeliest / number:.1%} said"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    texts = list(own_texts(chosen.folder))
    if chosen.check:
        print(check(texts))
        return
    counts = count(texts)
    lines = [f"# what prior.events lists, in {len(texts)} prompts; training/prompt_prior.py"]
    lines += ["\t".join([*event, str(number)]) for event, number in sorted(counts.items())]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TABLE.name}: {len(counts)} counts from {len(texts)} prompts")


if __name__ == "__main__":
    main()
