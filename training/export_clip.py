"""Step 9: write the trained encoder as a standard transformers folder.

    python training/export_clip.py

Weights in fp16, loadable with `transformers.CLIPModel.from_pretrained`. `attributes.json` holds the captions that
name one attribute's value each. The model card (README.md in the folder) is kept.
"""

import argparse
import json
import shutil
from pathlib import Path

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import torch
from safetensors.torch import save_file

import clip
from export import folder_bytes
from sfumato.portraits import VALUES, wording

FOLDER = workbench.BUNDLED.with_name("portraits-clip")
CLASSES = ("gender", "hair_colour", "background")


def captions() -> dict[str, dict[str, list[str]]]:
    """For each attribute and value, captions that name this value and little else."""
    walls = [value for value in VALUES["background"] if value not in wording.SCENE_PHRASES]
    said = {
        "gender": dict(wording.NOUNS),
        **{
            name: {value: [f"{word} person" for word in words] for value, words in adjectives.items()}
            for name, adjectives in wording.ADJECTIVES.items()
        },
        "hair_colour": _with({value: [f"{word} hair" for word in c] for value, c in wording.HAIR_COLOURS.items()}),
        "hair_style": _with(
            {
                **{value: [f"{word} hair"] for value, word in wording.HAIR_STYLES.items()},
                "bun": wording.BUN,
                "bald": wording.BALD,
            }
        ),
        "glasses": _with({"none": wording.NO_GLASSES, "glasses": wording.GLASSES}),
        "hat": _with({"none": wording.NO_HAT}, "with") | _with(wording.HATS, "wearing"),
        "beard": _with(
            {"none": wording.NO_BEARD} | {value: [f"a {word}" for word in b] for value, b in wording.BEARDS.items()}
        ),
        "clothing": _with(
            {value: [f"a {value} {g}" for g in ("shirt", "sweater")] for value in VALUES["clothing"]}, "in"
        ),
        "background": {value: [f"person, {p.format(value)}" for p in wording.WALL_PHRASES] for value in walls}
        | {value: [f"person {phrase}" for phrase in phrases] for value, phrases in wording.SCENE_PHRASES.items()},
    }
    return {name: {value: list(dict.fromkeys(said[name][value])) for value in VALUES[name]} for name in VALUES}


def _with(things: dict[str, list[str] | tuple[str, ...]], word: str = "with") -> dict[str, list[str]]:
    return {value: [f"person {word} {thing}" for thing in phrases] for value, phrases in things.items()}


def save(encoder: clip.Encoder, folder: Path) -> None:
    """Write model, tokenizer, picture processor, captions and the linear read-out."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.clip.half().save_pretrained(folder)
    _tidy(folder / "config.json")
    encoder.tokenizer.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(workbench.BUNDLED / "tokenizer" / name, folder / name)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": clip.SIDE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": clip.SIDE, "width": clip.SIDE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    read_out = {"captions": captions(), "classes": CLASSES}
    (folder / "attributes.json").write_text(json.dumps(read_out, indent=1) + "\n")
    save_file(
        {name: value.half() for name, value in encoder.heads.state_dict().items()}, folder / "read_out.safetensors"
    )
    for file in folder.iterdir():
        file.chmod(0o644)


def _tidy(file: Path) -> None:
    """Drop the text tower's origin, and name the type to compute in: without it transformers takes the file's."""
    config = json.loads(file.read_text())
    config["text_config"].pop("_name_or_path", None)
    file.write_text(json.dumps(config | {"dtype": "float32"}, indent=2) + "\n")


def main() -> None:
    """Export the last checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    encoder, step = clip.trained()
    with torch.no_grad():
        save(encoder, arguments.folder)
    print(f"step {step}: {folder_bytes(arguments.folder) / 1e6:.2f} MB in {arguments.folder}")


if __name__ == "__main__":
    main()
