"""Step 7: read the requested attributes off generated pictures, and lay out the grid to look at.

    python training/evaluate.py --prompts 500

Prompts come from a seed that no training script uses. Writes `docs/results/portraits/` : `grid.png` (the first 64
pictures, full size), `prompts.txt` and `quality.json`.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor

import classifier
from sfumato.portraits import VALUES, Attributes, caption, draw_attributes, mentioned

PROMPT_SEED = 500_500
STEPS = 30
GUIDANCE = 5.0


def unseen_prompts(count: int) -> tuple[list[Attributes], list[str]]:
    """People and captions that name nearly every attribute."""
    generator = np.random.default_rng(PROMPT_SEED)
    people = [draw_attributes(generator) for _ in range(count)]
    return people, [caption(person, generator, leave_out=0.02) for person in people]


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """Another U-Net for all but the first steps."""

    unet: UNet2DConditionModel
    after: int

    def __call__(
        self, pipeline: StableDiffusionPipeline, step: int, _time: Tensor, kept: dict[str, Any]
    ) -> dict[str, Any]:
        """What the pipeline calls after each step."""
        if step + 1 == self.after:
            pipeline.unet = self.unet
        return kept


def generated(
    folder: Path, prompts: list[str], batch: int, steps: int, hand_over: HandOver | None = None
) -> np.ndarray:
    """Pictures of the folder's pipeline in fp32, uint8; picture i starts from seed i."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    first_unet, pictures = pipeline.unet, []
    for step, _ in workbench.steps(0, (len(prompts) + batch - 1) // batch, "generating"):
        rows = range(step * batch, min(len(prompts), (step + 1) * batch))
        pipeline.unet = first_unet
        out = pipeline(
            [prompts[row] for row in rows],
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(row) for row in rows],
            callback_on_step_end=hand_over,
            output_type="np",
        )
        pictures.append((out.images * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def accuracy(people: list[Attributes], prompts: list[str], pictures: np.ndarray) -> dict[str, float]:
    """Share of pictures in which the classifier reads the requested value, over prompts that name it.

    Hair colour is judged where there is hair on the head, beards on men only.
    """
    guesses = classifier.read(classifier.trained(), pictures)
    named = [mentioned(prompt) for prompt in prompts]
    results = {}
    for name, values in VALUES.items():
        rows = [row for row, person in enumerate(people) if _is_judged(name, person, named[row])]
        hits = [values[guesses[name][row]] == getattr(people[row], name) for row in rows]
        results[name] = round(float(np.mean(hits)), 4)
    return results


def _is_judged(name: str, person: Attributes, named: dict[str, str]) -> bool:
    if name == "hair_colour" and person.hair_style == "bald":
        return False
    if name == "beard" and person.gender == "woman":
        return False
    return name in named or getattr(person, name) == "none"


def grid(pictures: np.ndarray, columns: int = 8) -> Image.Image:
    """Pictures at full size, side by side."""
    rows = [np.concatenate(list(pictures[start : start + columns]), 1) for start in range(0, len(pictures), columns)]
    return Image.fromarray(np.concatenate(rows, 0))


def main() -> None:
    """Generate, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=workbench.BUNDLED)
    parser.add_argument("--out", type=Path, default=workbench.RESULTS)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    people, prompts = unseen_prompts(arguments.prompts)
    pictures = generated(arguments.folder, prompts, arguments.batch, arguments.steps)
    arguments.out.mkdir(parents=True, exist_ok=True)
    grid(pictures[:64]).save(arguments.out / "grid.png", optimize=True)
    (arguments.out / "prompts.txt").write_text("\n".join(prompts[:64]) + "\n")
    results = accuracy(people, prompts, pictures)
    report = {"prompts": len(prompts), "steps": arguments.steps, "guidance": GUIDANCE, "accuracy": results}
    (arguments.out / "quality.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
