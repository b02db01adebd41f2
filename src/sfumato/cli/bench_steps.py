"""``sfumato bench steps``, ``link``, ``engine`` and ``scaling``: what a denoising step costs, protocol by protocol."""

from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.cost import cloud_numbers

_WAY = "A protocol with settings, such as 'strip-split wire=int8'; repeatable."
_MODEL = "Model folder or name; random:sd15 is full-size Stable Diffusion 1.5 with random weights."
_OUT = "Folder for the table, the rows as JSON lines, and pictures."

Ways = Annotated[list[str] | None, typer.Option("--protocol", metavar="'NAME [FIELD=VALUE ...]'", help=_WAY)]
Model = Annotated[str, typer.Option(help=_MODEL)]
Clouds = Annotated[str, typer.Option(metavar="N[,N...]", help="Numbers of clouds.")]
Repeats = Annotated[int, typer.Option(min=1, help="Runs of each way, which take turns.")]
Size = Annotated[int | None, typer.Option(help="Pixels; the default is the model's.")]
Out = Annotated[Path | None, typer.Option(help=_OUT)]


def numbers(text: str) -> list[int]:
    """Reads ``N[,N...]``.

    Raises:
        ValueError: not numbers.
    """
    return [n for n in cloud_numbers(text) if n is not None]


def steps_bench(
    model: Model = "portraits",
    protocol: Ways = None,
    clouds: Clouds = "2,4",
    steps: Annotated[int, typer.Option(help="DDIM steps of a run; the first one is not counted.")] = 11,
    repeats: Repeats = 3,
    guidance_scale: Annotated[float, typer.Option(help="1 turns guidance off.")] = 5.0,
    height: Size = None,
    width: Size = None,
    pictures: Annotated[bool, typer.Option("--pictures", help="Also decode, and compare the pictures.")] = False,
    out: Out = None,
) -> None:
    """Times denoising steps over local cloud processes beside local diffusers: seconds, bytes, rounds, memory."""
    from sfumato.bench.steps import StepsRequest, bench_steps
    from sfumato.bench.ways import DEFAULT_WAYS

    bench_steps(
        StepsRequest(
            model=model,
            ways=protocol or DEFAULT_WAYS,
            num_clouds=numbers(clouds),
            steps=steps,
            repeats=repeats,
            guidance_scale=guidance_scale,
            height=height,
            width=width,
            pictures=pictures,
            out=out,
        )
    )


def link_bench(
    model: Model = "portraits",
    protocol: Ways = None,
    clouds: Clouds = "2,4",
    link: Annotated[
        str, typer.Option(metavar="5g|UP/DOWN/RTT", help="The client's link in Mbit/s, Mbit/s and ms.")
    ] = "5g",
    steps: Annotated[int, typer.Option(help="DDIM steps of a run; the first one is not counted.")] = 6,
    repeats: Repeats = 1,
    height: Size = None,
    width: Size = None,
    out: Out = None,
) -> None:
    """Times denoising steps over a shaped link beside the seconds that 'sfumato cost' models."""
    from sfumato.bench.link import LinkRequest, bench_link
    from sfumato.bench.ways import DEFAULT_WAYS

    bench_link(
        LinkRequest(
            model=model,
            ways=protocol or DEFAULT_WAYS,
            num_clouds=numbers(clouds),
            link=link,
            steps=steps,
            repeats=repeats,
            height=height,
            width=width,
            out=out,
        )
    )


def engine_bench(
    model: Model = "portraits",
    protocol: Ways = None,
    clouds: Clouds = "2",
    repeats: Annotated[int, typer.Option(min=1, help="Steps that count, each without and with the clock.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Computing threads of all parties.")] = 1,
    height: Size = None,
    width: Size = None,
    out: Out = None,
) -> None:
    """Splits a step, all parties in one process, into torch's kernels and the engine around them."""
    from sfumato.bench.engine import EngineRequest, bench_engine
    from sfumato.bench.ways import DEFAULT_WAYS

    bench_engine(
        EngineRequest(
            model=model,
            ways=protocol or DEFAULT_WAYS,
            num_clouds=numbers(clouds),
            repeats=repeats,
            threads=threads,
            height=height,
            width=width,
            out=out,
        )
    )


def scaling_bench(
    counted: Annotated[str, typer.Option(help="Architecture or model to count on.")] = "sd15",
    measured: Annotated[str, typer.Option(help="Model to measure on.")] = "portraits",
    protocol: Ways = None,
    clouds: Clouds = "2,4,8",
    sizes: Annotated[str, typer.Option(metavar="N[,N...]", help="Pixels each way that are counted.")] = (
        "256,512,768,1024"
    ),
    measured_sizes: Annotated[
        str, typer.Option(metavar="N[,N...]", help="The same, measured; all numbers of clouds at the first. 0: none.")
    ] = "128,64,256",
    link: Annotated[str, typer.Option(metavar="5g|UP/DOWN/RTT", help="Link of the modelled seconds.")] = "5g",
    steps: Annotated[int, typer.Option(help="DDIM steps of a measured run; the first one is not counted.")] = 11,
    repeats: Repeats = 1,
    out: Out = None,
) -> None:
    """Bytes, rounds and seconds of a step against the number of clouds and the picture's size."""
    from sfumato.bench.scaling import ScalingRequest, bench_scaling
    from sfumato.bench.ways import DEFAULT_WAYS

    bench_scaling(
        ScalingRequest(
            counted_model=counted,
            measured_model=measured,
            ways=protocol or DEFAULT_WAYS,
            num_clouds=numbers(clouds),
            sizes=numbers(sizes),
            measured_sizes=[] if measured_sizes == "0" else numbers(measured_sizes),
            link=link,
            steps=steps,
            repeats=repeats,
            out=out,
        )
    )
