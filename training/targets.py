"""Step 14: train the networks that feature inversion is tried on, a ResNet and a ViT that tell a portrait's attributes.

    python training/targets.py portraits-resnet
    python training/targets.py portraits-vit

Writes `runs/<name>.pt`; goes on where it was stopped. One head of logits for every attribute, side by side in one
linear layer, so that the models load as `transformers.AutoModelForImageClassification`.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from clip import grid_waves, rate_at, whitened_patches
from clip_pictures import UNSEEN, disturbed, shown_codes
from sfumato.portraits import VALUES

SIDE: Final = 128
LABELS: Final = tuple(f"{name}: {value}" for name, values in VALUES.items() for value in values)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one target is made."""

    build: Callable[[], PreTrainedModel]
    steps: int
    batch: int
    rate: float


def _labelled() -> dict[str, dict[int, str] | dict[str, int]]:
    return {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}


def resnet() -> PreTrainedModel:
    """ResNet-18, three eighths as wide."""
    config = ResNetConfig(
        embedding_size=24, hidden_sizes=[24, 48, 96, 192], depths=[2, 2, 2, 2], layer_type="basic", **_labelled()
    )
    return ResNetForImageClassification(config)


def vit() -> PreTrainedModel:
    """Six blocks on 8 x 8 patches of 16 x 16 pixels."""
    width, patch = 144, 16
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=6,
        num_attention_heads=3,
        intermediate_size=3 * width,
        image_size=SIDE,
        patch_size=patch,
        attn_implementation="eager",
        **_labelled(),
    )
    model = ViTForImageClassification(config)
    embeddings = model.vit.embeddings
    sample = draw_batch((10, 0), 512)[0]
    embeddings.patch_embeddings.projection.weight.data = whitened_patches(sample, patch, width)
    embeddings.position_embeddings.data[0, 1:] = grid_waves(SIDE // patch, width)
    return model


RECIPES: Final = {
    "portraits-resnet": Recipe(build=resnet, steps=3000, batch=64, rate=3e-3),
    "portraits-vit": Recipe(build=vit, steps=1600, batch=64, rate=1.2e-3),
}


@cache
def _stored() -> tuple[np.ndarray, np.ndarray]:
    pictures = np.load(workbench.RUNS / "pictures.npy", mmap_mode="r")
    return pictures, shown_codes(np.load(workbench.RUNS / "attributes.npy").astype(np.int64))


def draw_batch(seed: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
    """Slightly disturbed pictures in [0, 1], and what each shows: one column an attribute."""
    generator = np.random.default_rng(seed)
    pictures, codes = _stored()
    rows = np.sort(generator.integers(0, len(pictures), count))
    batch = torch.from_numpy(pictures[rows]).permute(0, 3, 1, 2).float().div(255)
    return disturbed(batch, generator), torch.from_numpy(codes[rows])


def loss_of(model: PreTrainedModel, pictures: Tensor, shown: Tensor) -> Tensor:
    """Mean cross-entropy over the attributes that can be seen."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(pixel_values=(pictures * 2 - 1).contiguous(memory_format=torch.channels_last)).logits
    groups = logits.float().split([len(values) for values in VALUES.values()], dim=1)
    losses = [
        functional.cross_entropy(group, shown[:, column], ignore_index=UNSEEN) for column, group in enumerate(groups)
    ]
    return torch.stack(losses).mean()


def optimizer_of(model: nn.Module) -> torch.optim.AdamW:
    """No decay of gains and biases."""
    groups = [
        {"params": [value for value in model.parameters() if (value.ndim > 1) is decays], "weight_decay": 0.03 * decays}
        for decays in (False, True)
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def train(name: str, threads: int) -> None:
    """AdamW with warm-up and a cosine; resumes from `runs/<name>.pt`."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    recipe = RECIPES[name]
    model = recipe.build().to(memory_format=torch.channels_last)
    optimizer = optimizer_of(model)
    first = 0
    if state := workbench.load_checkpoint(name):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    curve = workbench.LossCurve(name, first_step=first)
    model.train()
    for step, _ in workbench.steps(first, recipe.steps, name):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, recipe.steps, recipe.rate)
        loss = loss_of(model, *draw_batch((11, step), recipe.batch))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        curve.add(step, loss.item())
        if (step + 1) % 50 == 0 or step + 1 == recipe.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            workbench.save_checkpoint(name, state)
    curve.draw()


def trained(name: str) -> tuple[PreTrainedModel, int]:
    """The model of `runs/<name>.pt` and its number of steps."""
    state = workbench.load_checkpoint(name)
    if state is None:
        raise FileNotFoundError(f"runs/{name}.pt is missing: run training/targets.py {name} first")
    model = RECIPES[name].build()
    model.load_state_dict(state["model"])
    return model.eval(), state["step"]


def main() -> None:
    """Train one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    train(arguments.name, arguments.threads)


if __name__ == "__main__":
    main()
