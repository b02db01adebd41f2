"""Tables as text that reads well raw and rendered."""

from collections.abc import Sequence


def markdown_table(headings: Sequence[str], lines: Sequence[Sequence[str]], is_number: Sequence[bool]) -> str:
    """A table whose columns also line up unrendered, numbers to the right."""
    escaped = [[text.replace("|", "\\|") for text in line] for line in (headings, *lines)]
    widths = [max(3, *map(len, column)) for column in zip(*escaped, strict=True)]
    rule = ["-" * (w - 1) + ":" if right else "-" * w for w, right in zip(widths, is_number, strict=True)]
    padded = [
        [t.rjust(w) if right else t.ljust(w) for t, w, right in zip(line, widths, is_number, strict=True)]
        for line in (escaped[0], rule, *escaped[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
