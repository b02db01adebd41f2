"""``sfumato plan``: which setting to take for a model, a link and a client."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from sfumato.cli.cost import Format, cloud_numbers
from sfumato.cli.wide import print_wide

if TYPE_CHECKING:
    from sfumato.cost.candidates import Candidate

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def plan(
    model: Annotated[
        str, typer.Option(help="Model folder, bundled or hub model, or an architecture: sd15, sdxl.")
    ] = "portraits",
    link: Annotated[
        str, typer.Option(metavar="5g|UP/DOWN/RTT", help="The client's link in Mbit/s, Mbit/s and ms.")
    ] = "5g",
    client_gflops: Annotated[
        float | None,
        typer.Option(metavar="G", help="10^9 FLOP that the client computes in a second; without, it takes no time."),
    ] = None,
    cloud_gflops: Annotated[float | None, typer.Option(metavar="G", help="The same of each cloud.")] = None,
    clouds: Annotated[
        str | None, typer.Option(metavar="N[,N…]", help="Numbers of clouds to compare; the default is 4,8.")
    ] = None,
    client_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What the client's weights must fit into, such as 2GB or 512MiB.")
    ] = None,
    wire: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT[,FORMAT…]",
            help="Number formats to compare; the default is fp16,int8. A lossy one is recommended only where no exact "
            "one is among them.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A setting of strip-split for all rows; repeatable."),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; the default is the model's.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; the default is the model's.")] = None,
    guidance: Annotated[bool, typer.Option(help="Count prompt and negative prompt together.")] = True,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of a picture.")] = 30,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Recommends number of clouds, variant and wire format, with the table that it decided from.

    Every row is a dry run of the protocol's real code, as sfumato cost makes it.
    """
    from sfumato.cost.candidates import CLOUDS, candidates
    from sfumato.cost.link import parse_link
    from sfumato.cost.plan_table import plan_json, plan_table
    from sfumato.cost.planning import Conditions, make_plan
    from sfumato.cost.speeds import Speeds
    from sfumato.models.folder import find_architecture

    conditions = Conditions(
        link=parse_link(link),
        speeds=Speeds(client_gflops=client_gflops, cloud_gflops=cloud_gflops),
        client_memory_bytes=_size(client_memory),
        model=find_architecture(model),
        height=height,
        width=width,
        guided=guidance,
    )
    numbers = [n for n in cloud_numbers(clouds) if n is not None] or list(CLOUDS)
    compared = candidates(numbers, _wires(wire, settings or []), settings or [])
    with _counting(compared) as on_count:
        made = make_plan(conditions, compared, on_count)
    if format is Format.JSON:
        typer.echo(json.dumps(plan_json(made, conditions, steps), indent=2))
    else:
        print_wide([plan_table(made, conditions, steps)])


def _wires(text: str | None, settings: Sequence[str]) -> Sequence[str]:
    """Reads ``FORMAT[,FORMAT…]``.

    Raises:
        ValueError: not formats of strip-split, or given twice.
    """
    from sfumato.cost.candidates import WIRES
    from sfumato.protocols.strip_split.packing import Wire

    if text is None:
        return WIRES
    if any(pair.partition("=")[0] == "wire" for pair in settings):
        raise ValueError("wire is given twice, as --wire and --set: give it once")
    formats, known = [part.strip() for part in text.split(",")], get_args(Wire)
    if wrong := [name for name in formats if name not in known]:
        raise ValueError(f"--wire must be among {', '.join(known)}, got {', '.join(wrong)}")
    return formats


def _size(text: str | None) -> int | None:
    """Reads a size in bytes.

    Raises:
        ValueError: not a size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]I?B)?", text.strip().upper())
    if not match:
        raise ValueError(f"--client-memory must be a size such as 2GB or 512MiB, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2] or ""])


@contextmanager
def _counting(compared: "Sequence[Candidate]") -> "Iterator[Callable[[Candidate], None]]":
    """Shows what is being counted, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("counting {task.completed}/{task.total}"), BarColumn(20), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(compared))
        begun = iter(range(len(compared)))

        def on_count(candidate: "Candidate") -> None:
            progress.update(task, completed=next(begun), description=str(candidate))

        yield on_count
