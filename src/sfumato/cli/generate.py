"""``sfumato generate``: a picture from a prompt."""

from pathlib import Path
from typing import Annotated

import typer

EPILOG = "Add --protocol NAME to --help to see that protocol's settings."


def generate(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="What the picture shows.")] = None,
    negative: Annotated[str | None, typer.Option(help="What it should not show.")] = None,
    model: Annotated[str, typer.Option(help="Bundled model, folder in diffusers' layout, or hub name.")] = "portraits",
    protocol: Annotated[
        str, typer.Option(help="plain, layer-split, strip-split, prompt-set or homomorphic.")
    ] = "strip-split",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A setting of the protocol; repeatable.")
    ] = None,
    clouds: Annotated[str | None, typer.Option(metavar="HOST:PORT,...", help="Running clouds, in order.")] = None,
    local_clouds: Annotated[
        int | None, typer.Option(min=1, help="Start this many clouds on this machine; the default is the protocol's.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="Folder made by 'sfumato keys'; needed with --clouds.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 30,
    guidance_scale: Annotated[float, typer.Option(help="How strongly the prompt counts; 1 turns guidance off.")] = 5.0,
    scheduler: Annotated[str, typer.Option(help="ddim, dpm++, euler, lcm or plms.")] = "dpm++",
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**63 - 1, help="Repeats a picture; a cloud can search for it. Without: unsearchable noise."
        ),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; the default is the model's.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; the default is the model's.")] = None,
    num_images: Annotated[int, typer.Option(min=1, help="Pictures, all in the same exchanges.")] = 1,
    out: Annotated[Path, typer.Option(help="PNG to write; several are numbered.")] = Path("sfumato.png"),
    report: Annotated[Path | None, typer.Option(help="JSON with traffic, work and what was not hidden.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder for what each cloud saw.")] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.safetensors",
            help="For judging attacks on the recording: prompt, seed and all latents, which no cloud is to have.",
        ),
    ] = None,
    device_model: Annotated[
        str | None, typer.Option(help="With prompt-set: the small model that finishes the picture here.")
    ] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With prompt-set: TOML file with more attributes to hide.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a cloud may take for one answer.")] = 120.0,
    show_help: Annotated[bool, typer.Option("--help", "-h", help="Show this message and exit.")] = False,
) -> None:
    """Makes a picture on clouds that do not get to see it.

    With nothing but a prompt: strip-split over four clouds that are started on this machine and stopped at the end.
    """
    if show_help:
        from sfumato.cli.settings import print_help

        print_help(context, protocol if _given(context, "protocol") else None)
        raise typer.Exit
    if prompt is None or not prompt.strip():
        raise ValueError("say what the picture should show: sfumato generate 'a smiling woman with a hat'")
    if clouds and local_clouds:
        raise ValueError("give --clouds or --local-clouds, not both")
    if clouds and keys is None:
        raise ValueError("--clouds needs --keys: the folder that 'sfumato keys' made")

    from sfumato.cli.generating import Request, run

    run(
        Request(
            prompt=prompt,
            negative=negative,
            model=model,
            protocol=protocol,
            settings=settings or [],
            clouds=clouds,
            local_clouds=local_clouds,
            keys=keys,
            steps=steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            seed=seed,
            height=height,
            width=width,
            num_images=num_images,
            out=out,
            report=report,
            record=record,
            secrets=secrets,
            timeout=timeout,
            device_model=device_model,
            taxonomy=taxonomy,
        )
    )


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
