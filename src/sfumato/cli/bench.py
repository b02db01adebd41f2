"""``sfumato bench …``."""

from typing import Annotated

import typer


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
    model: Annotated[str, typer.Option(help="Model folder or name.")] = "portraits",
    steps: Annotated[int, typer.Option(min=1, help="DDIM steps; the paper takes 50.")] = 50,
    guidance_scale: Annotated[float, typer.Option(help="The paper takes 5.")] = 5.0,
    clouds: Annotated[str, typer.Option(metavar="N[,N...]", help="Numbers of clouds.")] = "2,4,8",
) -> None:
    """Compares the pictures of layer-split with those of plain, for both ways of merging group statistics."""
    from sfumato.bench.fidelity import bench_fidelity

    bench_fidelity(model, steps=steps, guidance_scale=guidance_scale, num_clouds=_numbers(clouds))


def sweep_bench(
    model: Annotated[str, typer.Option(help="Model folder or name.")] = "portraits",
    steps: Annotated[int, typer.Option(min=1, help="DDIM steps.")] = 50,
    clouds: Annotated[str, typer.Option(metavar="N[,N...]", help="Numbers of clouds.")] = "2,4,8",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures computed together.")] = 16,
) -> None:
    """Times the batches of 'experiment ppidm-fidelity' beside the bare U-Net calls they need; minutes."""
    from sfumato.bench.sweep import bench_sweep

    bench_sweep(model, num_clouds=_numbers(clouds), steps=steps, batch_size=batch_size)


def _numbers(clouds: str) -> list[int]:
    try:
        return [int(n) for n in clouds.split(",")]
    except ValueError:
        raise ValueError(f"--clouds must be numbers with commas between them, got {clouds!r}") from None
