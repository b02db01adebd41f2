"""Step 6: write the trained parts as a standard diffusers folder.

    python training/export.py

Averaged weights, fp16, loadable with `diffusers.StableDiffusionPipeline.from_pretrained`. The model card
(README.md in the folder) is kept.
"""

import argparse
import json
import shutil
from pathlib import Path

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

import autoencoder
import text_encoder
import unet


def pipeline(state: dict[str, torch.Tensor]) -> StableDiffusionPipeline:
    """The pipeline of given U-Net and text encoder weights (the names of `unet.Painter`)."""
    painter = unet.Painter()
    painter.load_state_dict(state)
    painter.unet.set_default_attn_processor()
    vae = autoencoder.trained()
    vae.register_to_config(scaling_factor=unet.SCALING_FACTOR)
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=unet.TIMESTEPS,
        beta_start=float(unet.BETAS[0]),
        beta_end=float(unet.BETAS[-1]),
        beta_schedule="linear",
        prediction_type="v_prediction",
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=painter.text.eval(),
        tokenizer=text_encoder.tokenizer(),
        unet=painter.unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def folder_bytes(folder: Path) -> int:
    """Size of all files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def save(made: StableDiffusionPipeline, folder: Path) -> None:
    """Write in fp16, with the vocabulary files that older tokenizer classes need, readable by all."""
    made.to(dtype=torch.float16).save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(workbench.RUNS / "tokenizer" / name, folder / "tokenizer" / name)
    # transformers loads in the type its configuration names, diffusers in float32: without this the two would differ.
    config = folder / "text_encoder/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "float32"}, indent=2) + "\n")
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)


def main() -> None:
    """Export the last checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=workbench.BUNDLED)
    arguments = parser.parse_args()
    state = workbench.load_checkpoint("unet")
    if state is None:
        raise FileNotFoundError("runs/unet.pt is missing: run training/unet.py first")
    save(pipeline(state["average"]), arguments.folder)
    print(f"step {state['step']}: {folder_bytes(arguments.folder) / 1e6:.2f} MB in {arguments.folder}")


if __name__ == "__main__":
    main()
