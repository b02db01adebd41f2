"""Is the split picture the unsplit one? PSNR of final 8-bit pictures, merge by merge and n by n."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from statistics import mean
from typing import get_args

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sfumato.metrics.pictures import psnr
from sfumato.models.folder import find_model
from sfumato.protocols.base import Spec
from sfumato.protocols.layer_split.spec import LayerSplit, Merge
from sfumato.protocols.plain.spec import Plain
from sfumato.simulation import InProcessClouds, simulate
from sfumato.worker.sessions import ServedModel, serve_model

PROMPTS = (
    "a young woman with red hair and glasses, blue background",
    "an old man with a grey beard and a hat, at the sea",
    "a smiling middle-aged Indian woman with long black hair, in front of a forest",
    "a sad young man in a green shirt, city background",
)


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """One row: how one spec's pictures compare with ``plain``'s."""

    num_clouds: int
    merge: Merge
    decibels: list[float]
    """One a prompt; infinite where all bytes agree."""
    max_latent_error: float


def measure(model: str, *, steps: int, guidance_scale: float, num_clouds: list[int]) -> Iterator[Fidelity]:
    """Compares final pictures over a few prompts, DDIM, all parties in one process."""
    folder = find_model(model)
    served = serve_model(folder)

    def pictures(spec: Spec) -> list[tuple[np.ndarray, np.ndarray]]:
        return [_picture(model, spec, served, prompt, steps, guidance_scale) for prompt in PROMPTS]

    reference = pictures(Plain())
    for n, merge in product(num_clouds, get_args(Merge)):
        found = pictures(LayerSplit(num_clouds=n, merge=merge))
        yield Fidelity(
            num_clouds=n,
            merge=merge,
            decibels=psnr(np.stack([a[0] for a in found]), np.stack([b[0] for b in reference])).tolist(),
            max_latent_error=max(float(np.abs(a[1] - b[1]).max()) for a, b in zip(found, reference, strict=True)),
        )


def _picture(
    model: str, spec: Spec, served: ServedModel, prompt: str, steps: int, guidance_scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """The final picture's bytes, and its latent."""
    from sfumato.models.decoding import decode, to_uint8
    from sfumato.models.loading import load_decoder

    pipe = simulate(model, spec, scheduler="ddim", clouds=InProcessClouds(served, spec.num_clouds))
    latent = pipe(prompt, num_inference_steps=steps, guidance_scale=guidance_scale, seed=7, output_type="latent").images
    return to_uint8(decode(load_decoder(pipe.model), latent))[0], latent.numpy()


def bench_fidelity(model: str, *, steps: int, guidance_scale: float, num_clouds: list[int]) -> None:
    """Measures and prints."""
    rows = track(
        measure(model, steps=steps, guidance_scale=guidance_scale, num_clouds=num_clouds),
        total=2 * len(num_clouds),
        description="denoising",
        console=Console(stderr=True),
        transient=True,
    )
    title = (
        f"layer-split against plain on {model}: {steps} DDIM steps, guidance {guidance_scale}, {len(PROMPTS)} prompts"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("clouds", "merge", "least dB", "mean dB", "identical", "largest latent error"):
        table.add_column(heading, justify="left" if heading == "merge" else "right")
    for row in rows:
        finite = [d for d in row.decibels if d != float("inf")]
        table.add_row(
            str(row.num_clouds),
            row.merge,
            f"{min(finite):.1f}" if finite else "inf",
            f"{mean(finite):.1f}" if finite else "inf",
            f"{len(row.decibels) - len(finite)} of {len(row.decibels)}",
            f"{row.max_latent_error:.2e}",
        )
    Console().print(table)
