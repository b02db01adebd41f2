"""``sfumato cost``: what a run would cost, counted without weights."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from sfumato.cost.result import Cost


class Format(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"


def cost(
    model: Annotated[
        str, typer.Option(help="Model folder, bundled or hub model, or an architecture: sd15, sdxl.")
    ] = "portraits",
    protocol: Annotated[
        str | None,
        typer.Option(
            help="plain, layer-split, strip-split (the default; with --as-published, layer-split is) or prompt-set."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A setting of the protocol; repeatable.")
    ] = None,
    clouds: Annotated[
        str | None, typer.Option(metavar="N[,N…]", help="How many clouds; several numbers give several tables.")
    ] = None,
    link: Annotated[
        str, typer.Option(metavar="5g|UP/DOWN/RTT", help="The client's link in Mbit/s, Mbit/s and ms.")
    ] = "5g",
    client_gflops: Annotated[
        float | None,
        typer.Option(metavar="G", help="10^9 FLOP that the client computes in a second; without, it takes no time."),
    ] = None,
    cloud_gflops: Annotated[
        float | None,
        typer.Option(metavar="G", help="The same of each cloud."),
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Count what the paper's tables count: PPIDM's for layer-split, ObCLIP's Table 7 for prompt-set.",
        ),
    ] = False,
    height: Annotated[int | None, typer.Option(help="Pixels; the default is the model's.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; the default is the model's.")] = None,
    guidance: Annotated[
        bool, typer.Option(help="Count prompt and negative prompt together, as a guided run sends them.")
    ] = True,
    candidates: Annotated[
        str, typer.Option(metavar="N[,N…]", help="With prompt-set: sizes of the set; a row each.")
    ] = "2,6,30",
    steps: Annotated[int, typer.Option(min=2, help="With prompt-set: denoising steps of the picture.")] = 25,
    device_model: Annotated[
        str | None, typer.Option(help="With prompt-set: the model that finishes the picture.")
    ] = None,
    format: Annotated[Format, typer.Option(help="json is one object, or a list for several numbers of clouds.")] = (
        Format.TABLE
    ),
) -> None:
    """Counts the FLOPs, weights, bytes, rounds and modelled seconds of one denoising step.

    Nothing is computed and no weights are read: the protocol's real code runs on the meta device.
    """
    from functools import partial

    from sfumato.cli.cost_pictures import count_pictures, print_pictures
    from sfumato.cli.wide import print_wide
    from sfumato.cost.as_published import count_as_published
    from sfumato.cost.counting import count_cost
    from sfumato.cost.link import parse_link
    from sfumato.cost.speeds import UNKNOWN, Speeds
    from sfumato.cost.table import cost_table
    from sfumato.models.folder import find_architecture
    from sfumato.protocols.prompt_set.spec import PromptSet
    from sfumato.protocols.settings import parse_spec
    from sfumato.protocols.specs import find_spec

    speeds = Speeds(client_gflops=client_gflops, cloud_gflops=cloud_gflops)
    if as_published and speeds != UNKNOWN:
        raise ValueError("the paper models no computing: leave out --as-published, --client-gflops or --cloud-gflops")
    count = count_as_published if as_published else partial(count_cost, guided=guidance, speeds=speeds)
    folder, kind, route = (
        find_architecture(model),
        find_spec(protocol or ("layer-split" if as_published else "strip-split")),
        parse_link(link),
    )
    numbers = cloud_numbers(clouds)
    if kind is PromptSet:
        pictures = count_pictures(
            folder,
            cast(PromptSet, parse_spec(kind, settings or [], numbers[0])),
            route,
            device_model=device_model,
            candidates=_numbers(candidates, "--candidates", "candidates, such as 6 or 2,6,30"),
            steps=steps,
            height=height,
            width=width,
            guided=guidance,
            speeds=speeds,
            as_published=as_published,
        )
        print_pictures(pictures, as_json=format is Format.JSON, as_published=as_published)
        return
    specs = [parse_spec(kind, settings or [], number) for number in numbers]
    costs = [count(folder, spec, route, height=height, width=width) for spec in specs]
    if format is Format.JSON:
        _print_json(costs)
    else:
        print_wide([cost_table(counted) for counted in costs])


def cloud_numbers(text: str | None) -> list[int | None]:
    """Reads ``N[,N…]``; None for the protocol's default.

    Raises:
        ValueError: not numbers.
    """
    return [None] if text is None else [*_numbers(text, "--clouds", "clouds, such as 4 or 2,4,8")]


def _numbers(text: str, option: str, what: str) -> list[int]:
    parts = text.split(",")
    if not all(p.strip().isdecimal() and int(p) > 0 for p in parts):
        raise ValueError(f"{option} takes one or more numbers of {what}; got {text!r}")
    return [int(p) for p in parts]


def _print_json(costs: "list[Cost]") -> None:
    objects = [c.to_dict() for c in costs]
    typer.echo(json.dumps(objects[0] if len(objects) == 1 else objects, indent=2))
