"""Step 12: write the distilled U-Net as a standard diffusers folder.

    python training/export_device.py

Averaged weights, fp16; every other part is a copy of the bundled model's files. The model card (README.md in the
folder) is kept.
"""

import argparse
import shutil
from pathlib import Path

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import torch

import device
from export import folder_bytes

FOLDER = workbench.BUNDLED.with_name("portraits-device")
COPIED = ("text_encoder", "tokenizer", "vae", "scheduler")


def save(weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the U-Net, and copies of what the bundled model shares with it; readable by all."""
    small = device.build()
    small.load_state_dict(weights)
    small.set_default_attn_processor()
    small.eval().half().save_pretrained(folder / "unet")
    shutil.copyfile(workbench.BUNDLED / "model_index.json", folder / "model_index.json")
    for name in COPIED:
        shutil.copytree(workbench.BUNDLED / name, folder / name, dirs_exist_ok=True)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)


def main() -> None:
    """Export the last checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    state = workbench.load_checkpoint("device")
    if state is None:
        raise FileNotFoundError("runs/device.pt is missing: run training/device.py first")
    save(state["average"], arguments.folder)
    print(f"step {state['step']}: {folder_bytes(arguments.folder) / 1e6:.2f} MB in {arguments.folder}")


if __name__ == "__main__":
    main()
