"""Step 5: train the judge, an attribute classifier that sees painted pictures only.

    python training/classifier.py --steps 850

Writes `runs/classifier.pt` and prints its accuracy on painted pictures that no script has trained on.
"""

import argparse
from itertools import pairwise

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from paint import attribute_codes
from sfumato.portraits import VALUES, draw_attributes, paint

HELD_OUT_SEED = 777


class Classifier(nn.Module):
    """Seven convolutions on 128 x 128 pictures in [0, 1], one linear head for each attribute."""

    def __init__(self) -> None:
        super().__init__()
        widths, layers = (3, 24, 48, 72, 96, 128), []
        for index, (inner, outer) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(inner, outer, 5 if index == 0 else 3, 2, 2 if index == 0 else 1)]
            layers += [nn.GroupNorm(8, outer), nn.SiLU()]
        layers += [nn.Conv2d(128, 160, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Dropout(0.2)]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Linear(160 * 16, len(values)) for name, values in VALUES.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self.trunk(pictures * 2 - 1)
        return {name: head(features) for name, head in self.heads.items()}


def disturbed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures slightly blurred and all slightly noisy, so that texture decides nothing."""
    blurred = functional.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    chosen = torch.rand(len(pictures), 1, 1, 1, generator=generator) < 0.5
    pictures = torch.where(chosen, blurred, pictures)
    return pictures + 0.03 * torch.randn(pictures.shape, generator=generator)


def train(total: int, threads: int) -> Classifier:
    """AdamW with a one-cycle rate; resumes from `runs/classifier.pt`."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Classifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    first = 0
    if state := workbench.load_checkpoint("classifier"):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    pictures = np.load(workbench.RUNS / "pictures.npy", mmap_mode="r")
    codes = np.load(workbench.RUNS / "attributes.npy").astype(np.int64)
    curve = workbench.LossCurve("classifier", first_step=first)
    for step, _ in workbench.steps(first, total, "classifier"):
        for group in optimizer.param_groups:
            group["lr"] = 1.5e-3 * min(1.0, (step + 1) / 100) * max(0.02, 1 - step / total)
        rows = np.sort(np.random.default_rng((6, step)).integers(0, len(pictures), 48))
        batch = torch.from_numpy(pictures[rows]).permute(0, 3, 1, 2).float().div(255)
        batch = disturbed(batch, torch.Generator().manual_seed(step))
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(batch.contiguous(memory_format=torch.channels_last))
        losses = [
            functional.cross_entropy(scores[name].float(), torch.from_numpy(codes[rows, column]))
            for column, name in enumerate(VALUES)
        ]
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.add(step, loss.item())
        if (step + 1) % 500 == 0 or step + 1 == total:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            workbench.save_checkpoint("classifier", state)
    curve.draw()
    return model


def trained() -> Classifier:
    """The classifier of `runs/classifier.pt`."""
    state = workbench.load_checkpoint("classifier")
    if state is None:
        raise FileNotFoundError("runs/classifier.pt is missing: run training/classifier.py first")
    model = Classifier()
    model.load_state_dict(state["model"])
    return model.eval()


@torch.no_grad()
def read(model: Classifier, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """The index of the most likely value for each attribute, for uint8 pictures."""
    scores = model(torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(255))
    return {name: values.argmax(1).numpy() for name, values in scores.items()}


def held_out(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Fresh painted pictures and their attribute codes."""
    generator = np.random.default_rng(HELD_OUT_SEED)
    people = [draw_attributes(generator) for _ in range(count)]
    pictures = np.stack([paint(person, generator) for person in people])
    return pictures, np.array([attribute_codes(person) for person in people])


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=850)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    model = train(arguments.steps, arguments.threads).eval()
    pictures, codes = held_out(1000)
    guesses = read(model, pictures)
    for column, name in enumerate(VALUES):
        print(f"{name}: {np.mean(guesses[name] == codes[:, column]):.3f}")


if __name__ == "__main__":
    main()
