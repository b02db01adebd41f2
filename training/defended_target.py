"""Step 17: fine-tune a bundled target after a cut, so that it reads what a defence leaves of the features.

    python training/defended_target.py portraits-resnet --layer L8 --defence "gaussian-noise noise_multiplier=0.03"

What runs before the cut stays as it is, so features and attacks on them are the same; only the network after the cut
learns. Writes `runs/<name>-defended.pt` and goes on where it was stopped, then the transformers folder
`runs/<name>-defended/` for `--target`, and prints the accuracy before and after. Paints its own pictures.
"""

import argparse
import shutil
from pathlib import Path

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import torch
from torch import Tensor
from torch.nn import functional

from sfumato.attacks.inversion.defended import Operator, operator_of
from sfumato.attacks.targets import CutModel, Target, load_target
from sfumato.attacks.targets.painted_task import BATCH, PaintedPictures, painted_pictures
from sfumato.bench.defended_cell import named_defence
from sfumato.defences.base import Release
from sfumato.models.folder import BUNDLED

FIRST_SEED = 50_000_000
"""Of the first batch's pictures; the next batch takes the next seed, and no other script's are near."""
RATE = 1e-3
TASK_PICTURES = 192


def loss_of(target: Target, logits: Tensor, batch: PaintedPictures) -> Tensor:
    """Mean cross-entropy over everything that can be seen in the pictures."""
    heads = target.heads
    losses = []
    for name, scores in heads.split(logits).items():
        rows = [row for row, person in enumerate(batch.people) if name in person]
        wanted = torch.tensor([heads.values[name].index(batch.people[row][name]) for row in rows])
        losses.append(functional.cross_entropy(scores[rows], wanted))
    return torch.stack(losses).mean()


def tune(name: str, target: Target, cut: CutModel, release: Release, total: int, setting: str) -> None:
    """AdamW with a rate that falls to zero; normalisation keeps its statistics."""
    size = target.picture_size
    optimizer = torch.optim.AdamW(target.network.parameters(), lr=0.0, weight_decay=0.0)
    first = 0
    if state := workbench.load_checkpoint(name):
        if state["setting"] != setting:
            raise ValueError(f"runs/{name}.pt was made with {state['setting']}: remove it to begin anew")
        target.network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    curve = workbench.LossCurve(name, first_step=first)
    target.network.requires_grad_(True)
    for step, _ in workbench.steps(first, total, name):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / total)
        batch = painted_pictures(BATCH, FIRST_SEED + step, size)
        with torch.no_grad():
            noise = torch.Generator().manual_seed(step)
            released = release.apply(cut.first(target.preprocess(batch.pictures)), noise)
        loss = loss_of(target, cut.second(released), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.add(step, loss.item())
        if (step + 1) % 20 == 0 or step + 1 == total:
            model, done = target.network.state_dict(), {"step": step + 1, "setting": setting}
            workbench.save_checkpoint(name, {"model": model, "optimizer": optimizer.state_dict(), **done})
    target.network.requires_grad_(False)


def export(name: str, target: Target, folder: Path) -> None:
    """A transformers folder with the bundled target's picture processor."""
    target.network.save_pretrained(folder)
    shutil.copy(BUNDLED / name / "preprocessor_config.json", folder)


def told(operator: Operator, cut: CutModel, release: Release) -> str:
    """Accuracy of what is released, and of the features as they are."""
    defended, plain = operator.accuracy(cut, release, seed=1), operator.accuracy(cut)
    return f"{100 * defended:.1f} % with the defence, {100 * plain:.1f} % without"


def main() -> None:
    """Fine-tune, export and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("portraits-resnet", "portraits-vit"))
    parser.add_argument("--layer", default="L8")
    parser.add_argument("--defence", default="gaussian-noise noise_multiplier=0.03")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    target = load_target(arguments.name)
    cut = target.cut(arguments.layer, target.picture_size)
    operator = operator_of(target, target.picture_size, TASK_PICTURES)
    release = operator.release(named_defence(arguments.defence).made, cut)
    name = f"{arguments.name}-defended"
    print(f"before: {told(operator, cut, release)}")
    tune(name, target, cut, release, arguments.steps, f"{arguments.layer} {arguments.defence} {arguments.steps}")
    export(arguments.name, target, workbench.RUNS / name)
    print(f"after: {told(operator, cut, release)}; {workbench.RUNS / name}")


if __name__ == "__main__":
    main()
