"""Looks for the reasons why trends of PPIDM do not hold on ``portraits``; prints the tables of ``reasons.md``.

Run ``.venv/bin/python docs/results/ppidm-fidelity/reasons.py FOLDER`` on the output folder of the study.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from sfumato import LayerSplit, Plain
from sfumato.experiments.rows import PictureRow, RowStore, from_png
from sfumato.metrics.pictures import psnr
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.folder import find_model
from sfumato.models.layers import layers_of
from sfumato.models.loading import load_decoder, load_unet
from sfumato.models.sampling import Sampling, guided, initial_latents, make_scheduler, sample
from sfumato.protocols.base import Spec
from sfumato.protocols.partition import Partition
from sfumato.randomness import seeded_generator

STEPS, GUIDANCE, OWN_SIZE, SIZES, CLOUDS, NUM_PROMPTS = 50, 5.0, 128, (64, 128, 192, 256), (2, 4, 8), 6
FACTOR, LEVELS = 4, (1, 2, 4)  # pixels to a latent row; latent rows to a row of each feature map
FOLDER = find_model("portraits")
UNET, DECODER, ENCODER = load_unet(FOLDER), load_decoder(FOLDER), PromptEncoder(FOLDER)
SWEEP = RowStore(Path(sys.argv[1]) / "rows", PictureRow).read().filter(pl.col("num_inference_steps") == STEPS)


def sweep_rows(spec: Spec, size: int = OWN_SIZE) -> dict[tuple[str, int], dict[str, Any]]:
    """The sweep's pictures of one spec and size."""
    found = SWEEP.filter((pl.col("spec") == spec.to_json()) & (pl.col("height") == size))
    return {(r["prompt_set"], r["prompt_index"]): r for r in found.iter_rows(named=True)}


def sweep_psnr(spec: Spec, size: int = OWN_SIZE) -> dict[tuple[str, int], float]:
    """PSNR of a spec's pictures to the unsplit ones."""
    whole, split = sweep_rows(Plain(), size), sweep_rows(spec, size)
    return dict(zip(split, psnr(unpacked(split.values()), unpacked(whole[k] for k in split)), strict=True))


def unpacked(rows: Iterable[dict[str, Any]]) -> np.ndarray:
    """Pictures of rows."""
    return np.stack([from_png(r["picture"]) for r in rows])


def inputs(rows: Iterable[dict[str, Any]], size: int = OWN_SIZE) -> tuple[Tensor, Conditioning]:
    """Noise and conditioning, as the sweep makes them."""
    texts, seeds = zip(*((r["prompt"], r["seed"]) for r in rows), strict=True)
    text = ENCODER.encode(list(texts), None, guided=True, num_images_per_prompt=1, height=size, width=size)
    shape, generators = (len(texts), 4, size // FACTOR, size // FACTOR), [seeded_generator(s) for s in seeds]
    return initial_latents(shape, generators, torch.float32), text


def run(noise: Tensor, text: Conditioning, scale: float = GUIDANCE, unet: nn.Module = UNET) -> Tensor:
    """The unsplit run's latents after every step (step, batch, channel, row, column)."""
    scheduler, text = make_scheduler(FOLDER, "ddim"), replace(text, prompt_embeds=text.prompt_embeds.to(noise.dtype))
    settings = Sampling(
        scheduler=scheduler, noise=noise, conditioning=text, num_inference_steps=STEPS, guidance_scale=scale
    )
    return torch.stack([step.latents for step in sample(partial(predict, unet), settings)])


def growth(latents: Tensor, noise: Tensor, text: Conditioning, by: float = 1e-4, **how: Any) -> Tensor:
    """How many times larger a small difference in the noise becomes (step, batch), by root mean squares."""
    shift = by * torch.randn(noise.shape, generator=seeded_generator(0), dtype=noise.dtype)
    return (run(noise + shift, text, **how) - latents).square().mean((-3, -2, -1)).sqrt() / by


def pictures(latents: Tensor) -> np.ndarray:
    """The last step's, as bytes."""
    return to_uint8(decode(DECODER, latents[-1].float()))


@contextmanager
def watched(height: int, clouds: Iterable[int], dropped: tuple[int, ...] = ()) -> Iterator[dict[Any, list[float]]]:
    """Collects the share of group variance between strips; at the ``dropped`` levels the norms merge as published."""
    shares = defaultdict(list)

    def hook(norm: Any, args: tuple[Tensor], output: Tensor) -> Tensor:
        batch, _, rows, width = args[0].shape
        grouped = args[0].double().reshape(batch, norm.num_groups, -1, rows, width)
        whole, level, count = grouped.var((2, 3, 4), unbiased=False), height // rows, grouped[0, 0].numel()
        for n in clouds:
            strips = Partition(height, n, len(LEVELS)).strips(rows)
            lost = torch.stack([grouped[..., r.start : r.stop, :].mean((2, 3, 4)) for r in strips]).var(
                0, unbiased=False
            )
            shares[n, level].append(100 * (lost / whole).mean().item())
            shares[n, "independent"].append(100 * (n - 1) / (count - 1))
            if level in dropped:
                gain, bias = ((whole + norm.eps) / (whole - lost + norm.eps)).sqrt(), norm.bias[:, None, None]
                gain = gain.repeat_interleave(norm.num_channels // norm.num_groups, 1)[..., None, None]
                output = ((output - bias) * gain + bias).to(output.dtype)
        return output

    with ExitStack() as undo:
        for _, kind, norm in layers_of(UNET):
            if kind == "norm":
                undo.callback(norm.register_forward_hook(hook).remove)
        yield shares


def percents(shares: dict[Any, list[float]], num_clouds: int) -> list[float]:
    """Shares over all norms, at each level, and of independent values."""
    wanted = (LEVELS, *((level,) for level in LEVELS), ("independent",))
    return [float(np.mean([x for level in part for x in shares[num_clouds, level]])) for part in wanted]


def one_call_error(
    latents: Tensor, text: Conditioning, num_clouds: int, dropped: tuple[int, ...] = LEVELS, scale: float = GUIDANCE
) -> float:
    """Error of a prediction by the published merge from the unsplit run's latent, in %; the mean of five steps."""
    scheduler, errors = make_scheduler(FOLDER, "ddim"), []
    scheduler.set_timesteps(STEPS)
    for step in range(5, STEPS, 10):
        call = partial(predict, UNET, latents[step - 1], scheduler.timesteps[step], text)
        with watched(latents.shape[-2], (num_clouds,), dropped):
            split = guided(call(), scale)
        errors.append(((split - (whole := guided(call(), scale))).norm() / whole.norm()).item())
    return 100 * float(np.mean(errors))


def print_rounding() -> None:
    """Exact merging beside the unsplit U-Net in other batches and in fp64."""
    whole, exact = sweep_rows(Plain()), {n: sweep_psnr(LayerSplit(num_clouds=n)) for n in CLOUDS}
    keys = sorted(set(whole).intersection(*exact.values()))
    parts = (keys[i : i + 5] for i in range(0, len(keys), 5))
    other = np.concatenate([pictures(run(*inputs(whole[k] for k in part))) for part in parts])
    found = {f"exact split, n = {n}": np.array([exact[n][k] for k in keys]) for n in CLOUDS}
    found["unsplit, batches of 5"] = psnr(other, unpacked(whole[k] for k in keys))
    table = [(m, *np.sort(d)[:2], *np.percentile(d, (5, 50)), sum(d < 60)) for m, d in found.items()]
    heads = (f"{len(keys)} pictures", "least", "second", "5th percentile", "median", "below 60 dB")
    print_table("dB to the sweep's unsplit pictures, which are from batches of 16", heads, table)
    ranked = sorted(keys, key=lambda k: min(exact[n][k] for n in CLOUDS))
    chosen = [*ranked[:3], ranked[len(keys) // 2]]
    (noise, text), unet = inputs(whole[k] for k in chosen), load_unet(FOLDER, dtype=torch.float64)
    truth = run(noise.double(), text, unet=unet)
    made = {"unsplit, batch of 16": unpacked(whole[k] for k in chosen)}
    made["unsplit, batch of 5"] = other[[keys.index(k) for k in chosen]]
    made |= {f"exact split, n = {n}": unpacked(sweep_rows(LayerSplit(num_clouds=n))[k] for k in chosen) for n in CLOUDS}
    names = [" ".join(map(str, k)) for k in chosen]
    rows = [(m, *psnr(p, pictures(truth))) for m, p in made.items()]
    print_table("dB to the unsplit U-Net in fp64", ("pictures", *names), rows)
    grown = growth(truth, noise.double(), text, 1e-7, unet=unet)
    table = [(step, *(f"{g:.2g}" for g in grown[step - 1])) for step in (1, 10, 20, 25, 30, 35, 40, 45, 50)]
    print_table("Growth of a difference of 1e-7 in the noise, in fp64", ("step", *names), table)


def print_strips() -> None:
    """What the published merge drops, and what the sampler makes of it, by n, size and guidance."""
    found = {size: sweep_psnr(LayerSplit(num_clouds=4, merge="paper"), size) for size in SIZES}
    keys = sorted(k for k in set.intersection(*map(set, found.values())) if k[0] == "art")
    chosen, by_clouds, by_size, by_guidance = [sweep_rows(Plain())[k] for k in keys[:NUM_PROMPTS]], [], [], []
    for size in SIZES:
        noise, text = inputs(chosen, size)
        with watched(noise.shape[-2], CLOUDS if size == OWN_SIZE else (4,)) as shares:
            latents = run(noise, text)
        grown, decibel = growth(latents, noise, text)[-1].median().item(), np.mean([found[size][k] for k in keys])
        by_size.append((size, *percents(shares, 4), one_call_error(latents, text, 4), grown, decibel))
        for n in CLOUDS if size == OWN_SIZE else ():
            errors = [one_call_error(latents, text, n, levels) for levels in (LEVELS, (1,), (2,), (4,))]
            every = [d for k, d in sweep_psnr(LayerSplit(num_clouds=n, merge="paper")).items() if k[0] == "art"]
            errors.append(one_call_error(latents, text, n, scale=1.0))
            by_clouds.append((n, *percents(shares, n), *errors, np.mean(every)))
    noise, text = inputs(chosen)
    for scale in (1.0, GUIDANCE):
        latents = run(noise, text, scale)
        with watched(noise.shape[-2], (4,), LEVELS):
            each = psnr(pictures(run(noise, text, scale)), pictures(latents))
        grown = growth(latents, noise, text, scale=scale)[-1]
        by_guidance.append((f"{scale:g}", grown.median().item(), grown.max().item(), np.mean(each), min(each)))
    heads = ("share", "top", "middle", "deepest", "independent", "error")
    alone = ("top alone", "middle alone", "deepest alone", "unguided")
    print_table(f"By n, {OWN_SIZE} pixels; % and dB", ("n", *heads, *alone, "PSNR"), by_clouds)
    print_table(f"By size, n = 4, PSNR of {len(keys)}; % and dB", ("pixels", *heads, "growth", "PSNR"), by_size)
    print_table("By guidance, n = 4", ("guidance", "growth", "largest growth", "PSNR", "least"), by_guidance)


def print_table(title: str, headings: tuple[str, ...], table: Iterable[Iterable[Any]]) -> None:
    """Prints Markdown."""
    rows = (headings, ["--:"] * len(headings), *table)
    cells = [[f"{c:.{1 if abs(c) >= 10 else 2}f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    print(f"\n**{title}**\n", *(f"| {' | '.join(row)} |" for row in cells), sep="\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        print_rounding()
        print_strips()
