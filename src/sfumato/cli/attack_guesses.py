"""What a guess says, for the terminal and for JSON: recovered text goes to the user who asked, and nowhere else."""

from typing import TYPE_CHECKING, Any

from sfumato.attacks.guesses import AttributeGuess, ChoiceGuess, Guess, PromptGuess, SeedGuess

if TYPE_CHECKING:
    from rich.table import Table

    from sfumato.attacks.view import RunView

_MOST = 5
"""Candidates that are printed for each picture."""


def content_of(guess: Guess, view: "RunView") -> list[Any] | None:
    """One entry a picture: a text, probabilities of attributes, candidates by score, or a seed; None for pictures."""
    from sfumato.portraits.attributes import VALUES

    match guess:
        case PromptGuess():
            return list(guess.texts)
        case SeedGuess():
            return list(guess.seeds)
        case ChoiceGuess():
            texts = _candidates(view)
            return [_ranked(own, row.tolist()) for own, row in zip(texts, guess.scores, strict=True)]
        case AttributeGuess():
            number = len(next(iter(guess.probabilities.values())))
            return [
                {
                    name: dict(zip(VALUES[name], map(float, rows[i]), strict=True))
                    for name, rows in guess.probabilities.items()
                }
                for i in range(number)
            ]
    return None


def _ranked(texts: tuple[str, ...], scores: list[float]) -> list[dict[str, Any]]:
    order = sorted(range(len(texts)), key=lambda place: -scores[place])
    return [{"text": texts[place], "score": scores[place]} for place in order]


def table_of(guess: Guess, view: "RunView") -> "Table | None":
    """The same to read; None for pictures."""
    from rich.table import Table

    found = content_of(guess, view)
    if found is None:
        return None
    table = Table()
    for heading in ("picture", guess_heading(guess)):
        table.add_column(heading, overflow="fold")
    for number, each in enumerate(found, start=1):
        table.add_row(str(number), _line(guess, each))
    return table


def guess_heading(guess: Guess) -> str:
    """What a guess is of."""
    headings = {
        PromptGuess: "prompt",
        SeedGuess: "seed",
        ChoiceGuess: "best candidates first",
        AttributeGuess: "person",
    }
    return headings.get(type(guess), "picture")


def _line(guess: Guess, each: Any) -> str:
    match guess:
        case ChoiceGuess():
            return "\n".join(f"{one['score']:.4g}  {one['text']}" for one in each[:_MOST])
        case AttributeGuess():
            best = {name: max(values.items(), key=lambda pair: pair[1]) for name, values in each.items()}
            return ", ".join(f"{name} {value} ({share:.0%})" for name, (value, share) in best.items())
        case SeedGuess():
            return "not found" if each is None else str(each)
    return str(each)


def _candidates(view: "RunView") -> tuple[tuple[str, ...], ...]:
    from sfumato.attacks.seen.catalog import reader_of

    return view.candidates or reader_of(view).prompts(view)
