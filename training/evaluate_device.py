"""Step 13: what the device model paints alone and after the large model's first steps, beside the large model alone.

    python training/evaluate_device.py

The judge is the bundled image-text encoder's linear read-out. The large model's pictures do not change and are kept in
`runs/device_large.npy`. Writes `docs/results/portraits-device/`: `quality.json`, `prompts.txt` and a grid for each way.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from diffusers import UNet2DConditionModel

from evaluate import GUIDANCE, HandOver, generated, grid, unseen_prompts
from evaluate_clip import accuracy, held_out
from export import folder_bytes
from export_device import FOLDER
from sfumato.metrics.sets import frechet_distance
from sfumato.models.layers import counted_flops
from sfumato.models.picture_encoder import PictureEncoder
from sfumato.portraits import mentioned

RESULTS = workbench.RESULTS.with_name("portraits-device")
SHOWN = 32


def unet_of(folder: Path) -> UNet2DConditionModel:
    """The folder's U-Net in fp32."""
    return UNet2DConditionModel.from_pretrained(folder / "unet").eval()


@torch.no_grad()
def size(folder: Path) -> dict[str, float]:
    """Parameters, bytes, and the FLOPs of one call for one latent and one prompt of full length."""
    unet, text = unet_of(folder), json.loads((folder / "text_encoder/config.json").read_text())
    states = torch.zeros(1, text["max_position_embeddings"], text["hidden_size"])
    side = unet.config.sample_size
    with counted_flops() as flops:
        unet(torch.zeros(1, unet.config.in_channels, side, side), torch.tensor([1]), states)
    return {
        "unet_parameters": unet.num_parameters(),
        "unet_gflops": round(flops() / 1e9, 4),
        "folder_bytes": folder_bytes(folder),
    }


def large_pictures(prompts: list[str], batch: int, steps: int) -> np.ndarray:
    """Pictures of the bundled model, made at first use."""
    file = workbench.RUNS / "device_large.npy"
    if not file.exists():
        np.save(file, generated(workbench.BUNDLED, prompts, batch, steps))
    kept = np.load(file)
    if len(kept) != len(prompts):
        raise ValueError(f"{file} holds {len(kept)} pictures, not {len(prompts)}: delete it")
    return kept


def ways(folder: Path, prompts: list[str], batch: int, steps: int, after: int) -> dict[str, np.ndarray]:
    """Pictures of the large model, of both in turn, and of the device model, from the same noise."""
    hand_over = HandOver(unet=unet_of(folder), after=after)
    return {
        "large": large_pictures(prompts, batch, steps),
        "hybrid": generated(workbench.BUNDLED, prompts, batch, steps, hand_over),
        "device": generated(folder, prompts, batch, steps),
    }


def measure(pictures: dict[str, np.ndarray], count: int) -> dict[str, Any]:
    """Attributes read off the pictures, and the Fréchet distance of their features to those of painted pictures."""
    encoder, (people, prompts) = PictureEncoder(), unseen_prompts(count)
    painted, named = encoder.features(held_out(1000)[1]), [mentioned(prompt) for prompt in prompts]
    return {
        way: {
            "accuracy": accuracy(encoder.attributes(made), people, named),
            "frechet_distance": round(frechet_distance(encoder.features(made), painted), 2),
        }
        for way, made in pictures.items()
    }


def main() -> None:
    """Generate, judge, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--after", type=int, default=10)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    _, prompts = unseen_prompts(arguments.prompts)
    pictures = ways(arguments.folder, prompts, arguments.batch, arguments.steps, arguments.after)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for way, made in pictures.items():
        grid(made[:SHOWN]).save(arguments.out / f"{way}.png", optimize=True)
    (arguments.out / "prompts.txt").write_text("\n".join(prompts[:SHOWN]) + "\n")
    report = {
        "size": {"portraits": size(workbench.BUNDLED), "portraits-device": size(arguments.folder)},
        "prompts": arguments.prompts,
        "steps": arguments.steps,
        "steps of the large model in hybrid": arguments.after,
        "guidance": GUIDANCE,
        **measure(pictures, arguments.prompts),
    }
    (arguments.out / "quality.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
