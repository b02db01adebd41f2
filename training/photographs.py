r"""Step 18: photographs for attacks on networks that were trained on photographs.

    python training/photographs.py --photographs caltech101_subset/index.csv --photographs cid22_256/training \
        --leave-out Faces --leave-out Faces_easy

Writes `runs/photographs/`, squares of 128 pixels in an order drawn by chance, which `sfumato invert` takes for
`--set questions=`; trains the bundled model's autoencoder on them, from its own weights, and goes on where it was
stopped; then writes `runs/photographs-decoder/`, a model folder with an autoencoder and nothing else, which it takes
for `--model` with the methods that need no diffusion model: decoder, black-box-decoder, direct and black-box-direct.
"""

import argparse
import csv
import json
from pathlib import Path

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
from diffusers import AutoencoderTiny
from PIL import Image, ImageOps

import autoencoder

NAME = "photographs"
SIDE = 128
ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def files_of(source: Path) -> list[Path]:
    """Photographs of a folder and those in it, or of an index: the rows of its split "train", or all without one."""
    if source.is_dir():
        return sorted(file for file in source.rglob("*") if file.suffix.lower() in ENDINGS)
    with source.open(newline="") as rows:
        return [source.parent / row["path"] for row in csv.DictReader(rows) if row.get("split", "train") == "train"]


def squares(sources: list[Path], left_out: list[str], folder: Path) -> list[Path]:
    """Writes the middle of each photograph, unless it was written before; in an order drawn by chance."""
    files = [file for source in sources for file in files_of(source) if not set(file.parts) & set(left_out)]
    if not files:
        raise SystemExit("no photographs: name a folder of them, or an index with a column path")
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(len(files))
    written = [folder / f"{place:05}.png" for place in range(len(files))]
    for step, _ in workbench.steps(0, len(files), "squares"):
        if not written[step].exists():
            with Image.open(files[order[step]]) as photograph:
                square = ImageOps.fit(photograph.convert("RGB"), (SIDE, SIDE), Image.Resampling.BICUBIC)
            square.save(partial := written[step].with_suffix(".partial"), format="PNG")
            partial.replace(written[step])
    return written


def pixels_of(file: Path) -> np.ndarray:
    """A square as bytes, shape (128, 128, 3)."""
    with Image.open(file) as square:
        return np.asarray(square)


def export(model: AutoencoderTiny, folder: Path) -> None:
    """A model folder with an autoencoder alone."""
    model.save_pretrained(folder / "vae")
    index = {"_class_name": "DiffusionPipeline", "vae": ["diffusers", "AutoencoderTiny"]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    """Squares, training and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, action="append", required=True, metavar="FOLDER|INDEX.csv")
    parser.add_argument("--leave-out", action="append", default=[], metavar="FOLDER", help="a folder's name")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    written = squares(arguments.photographs, arguments.leave_out, workbench.RUNS / NAME)
    pictures = np.stack([pixels_of(file) for file in written])
    model = AutoencoderTiny.from_pretrained(workbench.BUNDLED / "vae", low_cpu_mem_usage=False)
    before = autoencoder.psnr(model, pictures[-autoencoder.HELD_OUT :])
    print(f"{len(pictures)} photographs; before training {before:.2f} dB", flush=True)
    autoencoder.train(f"{NAME}-autoencoder", model, pictures, arguments.steps, arguments.threads, arguments.rate)
    export(model, workbench.RUNS / f"{NAME}-decoder")


if __name__ == "__main__":
    main()
