"""Step 15: write a trained target as a standard transformers folder.

    python training/export_targets.py portraits-resnet
    python training/export_targets.py portraits-vit

Weights in fp16, loadable with `transformers.AutoModelForImageClassification.from_pretrained`, which computes in fp32 as
the configuration says. The model card (README.md in the folder) is kept.
"""

import argparse
import json
from pathlib import Path

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import targets
from export import folder_bytes

PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": targets.SIDE, "width": targets.SIDE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def save(name: str, folder: Path) -> int:
    """Write model and picture processor, readable by all; returns the steps of training."""
    model, step = targets.trained(name)
    model.half().save_pretrained(folder)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "float32"}, indent=2) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
    return step


def main() -> None:
    """Export the last checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=targets.RECIPES)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or workbench.BUNDLED.with_name(arguments.name)
    folder.mkdir(parents=True, exist_ok=True)
    step = save(arguments.name, folder)
    print(f"step {step}: {folder_bytes(folder) / 1e6:.2f} MB in {folder}")


if __name__ == "__main__":
    main()
