"""``sfumato bench …``."""

from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.bench_steps import numbers


def transport_bench(
    scale: Annotated[float, typer.Option(min=0.05, help="More or fewer rounds than usual.")] = 1.0,
) -> None:
    """Times echo rounds over two cloud processes beside plain blocking TLS sockets."""
    from sfumato.bench.transport import bench_transport

    bench_transport(scale)


def generate_bench(
    model: Annotated[str, typer.Option(help="Model folder or name.")] = "portraits",
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of each run.")] = 30,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each command.")] = 5,
) -> None:
    """Times whole cold 'generate' commands beside the same picture by a stock diffusers script."""
    from sfumato.bench.whole_command import bench_generate

    bench_generate(model, steps=steps, repeats=repeats)


def fidelity_bench(
    model: Annotated[str, typer.Option(help="Model folder or name; random:sd15 is SD 1.5 with random weights.")] = (
        "portraits"
    ),
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="'NAME [FIELD=VALUE ...]'",
            help="A protocol with settings, such as 'strip-split wire=int8'; repeatable. Without: both merges of "
            "layer-split.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps; the paper takes 50.")] = 50,
    scheduler: Annotated[str, typer.Option(help="ddim, as in the paper, dpm++, euler or lcm.")] = "ddim",
    guidance_scale: Annotated[float, typer.Option(help="The paper takes 5.")] = 5.0,
    clouds: Annotated[str, typer.Option(metavar="N[,N...]", help="Numbers of clouds.")] = "2,4,8",
    seeds: Annotated[int, typer.Option(min=1, help="Pictures of each of the four prompts.")] = 1,
    one_pass: Annotated[
        bool, typer.Option("--one-pass", help="Compare one call of the U-Net in place of final pictures.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the table, rows as JSON lines, and pictures.")] = None,
) -> None:
    """Compares the pictures of split protocols with those of plain, in PSNR."""
    from sfumato.bench.fidelity import DEFAULT_WAYS, FidelityRequest, bench_fidelity

    bench_fidelity(
        FidelityRequest(
            model=model,
            ways=protocol or DEFAULT_WAYS,
            num_clouds=numbers(clouds),
            steps=steps,
            guidance_scale=guidance_scale,
            seeds=seeds,
            one_pass=one_pass,
            scheduler=scheduler,
            out=out,
        )
    )


def sweep_bench(
    model: Annotated[str, typer.Option(help="Model folder or name.")] = "portraits",
    steps: Annotated[int, typer.Option(min=1, help="DDIM steps.")] = 50,
    clouds: Annotated[str, typer.Option(metavar="N[,N...]", help="Numbers of clouds.")] = "2,4,8",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures computed together.")] = 16,
) -> None:
    """Times the batches of 'experiment ppidm-fidelity' beside the bare U-Net calls they need; minutes."""
    from sfumato.bench.sweep import bench_sweep

    bench_sweep(model, num_clouds=numbers(clouds), steps=steps, batch_size=batch_size)


def homomorphic_bench(
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of every layout.")] = 20,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of every run.")] = 30,
    out: Annotated[Path | None, typer.Option(help="Folder for tables, rows as JSON lines, and the plot.")] = None,
) -> None:
    """Measures HE-Diffusion's layout, its predecessors and sealed mode: time, bytes, quality, and leak by attack."""
    from sfumato.bench.homomorphic import bench_homomorphic

    bench_homomorphic(repeats, steps, out)


def encryption_bench(
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of every row.")] = 30,
    out: Annotated[Path | None, typer.Option(help="Folder for the table, and rows as JSON lines.")] = None,
) -> None:
    """Times what 'homomorphic' adds to a step, beside the same update in the clear."""
    from sfumato.bench.encryption import bench_encryption

    bench_encryption(repeats, out)


def vault_bench(
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of every row.")] = 30,
    out: Annotated[Path | None, typer.Option(help="Folder for the table, and rows as JSON lines.")] = None,
) -> None:
    """Times the commands of 'sfumato vault', beside the same arithmetic in the clear."""
    from sfumato.bench.vault import bench_vault

    bench_vault(repeats, out)


def inversion_bench(
    model: Annotated[str, typer.Option(help="The public diffusion model.")] = "portraits",
    target: Annotated[str, typer.Option(help="The network that is cut.")] = "portraits-resnet",
    layer: Annotated[str, typer.Option(help="The cut.")] = "L8",
    pictures: Annotated[int, typer.Option(min=1, help="Inverted together.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="DDIM steps of the chain.")] = 20,
    repeats: Annotated[int, typer.Option(min=1, help="Iterations that count, after one that does not.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Folder for the table, and rows as JSON lines.")] = None,
) -> None:
    """Times an iteration of the white-box inversion beside the bare passes that it consists of, in one thread."""
    from sfumato.bench.inversion import InversionRequest, bench_inversion

    bench_inversion(
        InversionRequest(
            model=model, target=target, layer=layer, pictures=pictures, steps=steps, repeats=repeats, out=out
        )
    )
