"""What the image-text encoder is trained on: portraits as a sampler would leave them, and captions drawn anew.

    python training/clip_pictures.py --pictures 12000

Writes `runs/round_trips.npy`: the first painted pictures after the bundled autoencoder, with noise on the latent. An
encoder that sees only painted pictures would take the autoencoder's blur for content.
"""

import argparse
from dataclasses import dataclass, replace
from functools import cache

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn import functional

from paint import attributes_from_codes
from sfumato.portraits import VALUES, Attributes, caption, mentioned

LATENT_NOISE = 0.2
LEAVE_OUT = (0.0, 0.05, 0.12, 0.5, 0.85)
"""From captions that name all to captions that name one or two attributes, as a read-out asks."""
REACH = 2
"""Pixels by which a picture is moved at most; the painter moves heads by more."""
UNSAID, UNSEEN = -1, -2
NAMES = tuple(VALUES)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pictures in [0, 1], twice as many captions, and what each shows or says (one column an attribute).

    Caption i belongs to picture i; caption i + n is of the same person with one attribute changed.
    """

    pictures: Tensor
    captions: list[str]
    shown: Tensor
    said: Tensor

    def contradictions(self) -> Tensor:
        """Whether picture i lacks something that caption j says."""
        differs = self.shown[:, None] != self.said[None]
        return (differs & (self.said != UNSAID)[None]).any(2)


@torch.no_grad()
def make_round_trips(count: int, threads: int) -> None:
    """Encode, disturb, decode."""
    torch.set_num_threads(threads)
    model = AutoencoderTiny.from_pretrained(workbench.BUNDLED / "vae").to(memory_format=torch.channels_last)
    pictures = np.load(workbench.RUNS / "pictures.npy", mmap_mode="r")[:count]
    partial = workbench.RUNS / "round_trips.partial"
    kept = np.lib.format.open_memmap(partial, "w+", np.uint8, pictures.shape)
    generator = torch.Generator().manual_seed(8)
    for step, _ in workbench.steps(0, (count + 31) // 32, "round trips"):
        rows = slice(32 * step, 32 * step + 32)
        batch = torch.from_numpy(np.array(pictures[rows])).permute(0, 3, 1, 2).float().div(127.5) - 1
        with torch.autocast("cpu", torch.bfloat16):
            latents = model.encoder(batch.contiguous(memory_format=torch.channels_last)).float()
            strength = LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, generator=generator)
            decoded = model.decoder(latents + strength * torch.randn(latents.shape, generator=generator)).float()
        kept[rows] = decoded.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    kept.flush()
    partial.replace(workbench.RUNS / "round_trips.npy")


@cache
def _stored() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pictures = np.load(workbench.RUNS / "pictures.npy", mmap_mode="r")
    round_trips = np.load(workbench.RUNS / "round_trips.npy", mmap_mode="r")
    return pictures, round_trips, np.load(workbench.RUNS / "attributes.npy").astype(np.int64)


def draw_batch(seed: tuple[int, int], count: int) -> Batch:
    """A third to a half of the pictures are round trips, the others painted; all are slightly disturbed."""
    generator = np.random.default_rng(seed)
    pictures, round_trips, codes = _stored()
    rows = generator.integers(0, len(pictures), count)
    second_hand = generator.random(count) < 0.45
    rows[second_hand] %= len(round_trips)
    chosen = np.stack([(round_trips if old else pictures)[row] for row, old in zip(rows, second_hand, strict=True)])
    batch = torch.from_numpy(chosen).permute(0, 3, 1, 2).float().div(255)
    people = [attributes_from_codes(codes[row]) for row in rows]
    captions = [caption(person, generator, leave_out=float(generator.choice(LEAVE_OUT))) for person in people]
    captions += [caption(altered(person, generator), generator, leave_out=0.05) for person in people]
    return Batch(
        pictures=disturbed(batch, generator),
        captions=captions,
        shown=torch.from_numpy(shown_codes(codes[rows])),
        said=torch.from_numpy(np.array([said_codes(text) for text in captions])),
    )


def shown_codes(codes: np.ndarray) -> np.ndarray:
    """The codes of what can be seen: a beardless bald head shows no hair colour."""
    hidden = (codes[:, NAMES.index("hair_style")] == VALUES["hair_style"].index("bald")) & (
        codes[:, NAMES.index("beard")] == VALUES["beard"].index("none")
    )
    shown = codes.copy()
    shown[hidden, NAMES.index("hair_colour")] = UNSEEN
    return shown


def said_codes(text: str) -> list[int]:
    """For each attribute the value that the caption names."""
    found = mentioned(text)
    return [values.index(found[name]) if name in found else UNSAID for name, values in VALUES.items()]


def altered(person: Attributes, generator: np.random.Generator) -> Attributes:
    """The same person with another value of one attribute."""
    while True:
        name = NAMES[generator.integers(len(NAMES))]
        value = VALUES[name][generator.integers(len(VALUES[name]))]
        try:
            other = replace(person, **{name: value})
        except ValueError:  # no such picture
            continue
        if other != person:
            return other


def disturbed(pictures: Tensor, generator: np.random.Generator) -> Tensor:
    """Mirrored, moved, blurred, dimmed and made noisy at random, so that no pixel pattern decides."""
    count, torch_generator = len(pictures), torch.Generator().manual_seed(int(generator.integers(1 << 40)))
    mirrored = torch.from_numpy(np.flatnonzero(generator.random(count) < 0.5))
    pictures[mirrored] = pictures[mirrored].flip(3)
    pictures = _moved(pictures, generator)
    blurred = torch.from_numpy(np.flatnonzero(generator.random(count) < 0.4))
    smooth = functional.avg_pool2d(pictures[blurred], 3, 1, 1, count_include_pad=False)
    pictures[blurred] = pictures[blurred].lerp(smooth, float(generator.uniform(0.3, 1)))
    gain = 1 + 0.02 * torch.randn(count, 1, 1, 1, generator=torch_generator)
    strength = 0.04 * torch.rand(count, 1, 1, 1, generator=torch_generator)
    noise = torch.randn(pictures.shape, generator=torch_generator).mul_(strength)
    return pictures.mul_(gain).add_(noise).clamp_(0, 1)


def _moved(pictures: Tensor, generator: np.random.Generator) -> Tensor:
    padded = functional.pad(pictures, (REACH,) * 4, mode="replicate")
    side, places = pictures.shape[-1], generator.integers(0, 2 * REACH + 1, (len(pictures), 2))
    return torch.stack([p[:, y : y + side, x : x + side] for p, (y, x) in zip(padded, places, strict=True)])


def main() -> None:
    """Make the round trips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=12_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    make_round_trips(arguments.pictures, arguments.threads)


if __name__ == "__main__":
    main()
