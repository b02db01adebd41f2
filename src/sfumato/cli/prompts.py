"""``sfumato prompts``: what a prompt set would hide, before anything is sent."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfumato.cli.cost import Format

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from sfumato.protocols.prompt_set.candidates import CandidateSet

_MARKS = "reverse", "bold yellow"


class OnNoAttribute(StrEnum):
    """What to do with a prompt that names no attribute."""

    REFUSE = "refuse"
    PLAIN = "plain"


def prompts(
    prompt: Annotated[str, typer.Argument(help="What the picture is to show.")],
    taxonomy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with more attributes or more words.")
    ] = None,
    max_candidates: Annotated[int, typer.Option(min=2, help="Larger sets are refused.")] = 32,
    on_no_attribute: Annotated[
        OnNoAttribute, typer.Option(help="Refuse a prompt without attributes, or show it as it would be sent.")
    ] = OnNoAttribute.REFUSE,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Shows what prompt-set would hide of a prompt, what not, and the set that the cloud would read.

    Nothing leaves this machine.
    """
    from sfumato.protocols.prompt_set.candidates import candidate_set, load_taxonomy
    from sfumato.protocols.prompt_set.candidates.preview import preview_json
    from sfumato.protocols.prompt_set.candidates.prior import posterior

    own = candidate_set(
        prompt,
        taxonomy=load_taxonomy(taxonomy) if taxonomy else None,
        max_candidates=max_candidates,
        on_no_attribute=on_no_attribute.value,
    )
    probabilities = posterior(own.prompts)
    if format is Format.JSON:
        typer.echo(json.dumps(preview_json(own, probabilities), indent=2, ensure_ascii=False))
    else:
        _print(own, probabilities)


def _print(own: "CandidateSet", probabilities: tuple[float, ...]) -> None:
    from rich.console import Console

    from sfumato.protocols.prompt_set.candidates.preview import verdict

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, 80))
    for piece in (_marked(own), *_findings(own), _candidates(own, probabilities), verdict(own, probabilities)):
        console.print(piece)


def _marked(own: "CandidateSet") -> "Text":
    """The prompt with what is covered and what is not."""
    from rich.text import Text

    from sfumato.protocols.prompt_set.candidates.text import tidy

    text = Text(tidy(own.prompt))
    for covered in own.covered:
        text.stylize(_MARKS[0], covered.start, covered.start + len(covered.words))
    for start, words in [(n.start, n.words) for n in own.not_covered] + [(c.start, c.words) for c in own.correlates]:
        text.stylize(_MARKS[1], start, start + len(words))
    return text


def _findings(own: "CandidateSet") -> "list[RenderableType]":
    rows = [(f"{c.words}", c.type, f"hidden; yours is {c.value}") for c in own.covered]
    rows += [(n.words, n.kind, _why_open(n.kind, own)) for n in own.not_covered]
    rows += [
        (
            c.words,
            c.type,
            f"not hidden; suggests {' or '.join(c.values)}" + ("" if c.covered else f", no {c.type} is named"),
        )
        for c in own.correlates
    ]
    if not rows:
        return []
    table = _table("words", "what", "in the set")
    for words, kind, verdict in rows:
        table.add_row(words, kind, verdict, style="" if verdict.startswith("hidden") else "yellow")
    return [table]


def _why_open(kind: str, own: "CandidateSet") -> str:
    return (
        "not hidden; read as said of no person" if kind in ("gender", "age", "ethnicity", *own.types) else "not hidden"
    )


def _candidates(own: "CandidateSet", probabilities: tuple[float, ...]) -> "Table":
    from rich.text import Text

    from sfumato.protocols.prompt_set.candidates import PIVOT

    table = _table("", "", "the cloud reads")
    table.columns[0].justify = "right"
    table.add_column("posterior", justify="right", no_wrap=True)
    table.columns[1].no_wrap = True
    for place, (text, probability) in enumerate(zip(own.prompts, probabilities, strict=True)):
        marks = [name for name, here in (("pivot", PIVOT), ("yours", own.index)) if here == place and own.types]
        style = "bold" if place == own.index and own.types else ""
        table.add_row(str(place), " ".join(marks), Text(text), f"{probability:.1%}", style=style)
    return table


def _table(*columns: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
