"""Step 11: distil a small U-Net, which a client can run itself, from the bundled model's.

    torchrun --standalone --nproc-per-node 2 training/device.py --steps 1800

Needs `runs/attributes.npy` of step 1, and `runs/latents.npy` of the bundled autoencoder (`python
training/autoencoder.py --encode --bundled`). Text encoder, autoencoder and noise schedule are the bundled model's and
stay as they are. Goes on from `runs/device.pt`; a resumed run may be given another total, which moves the decay.
"""

import argparse
import os
import time
from functools import cache

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, distributed, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from unet import ALPHA_BARS, DRAW_WEIGHTS, LOSS_WEIGHTS, Average, Batches, Plan, share_gradients

WIDTHS = (32, 48, 64)
CHECKPOINT_SECONDS = 150
JOINED = {(240, 112): ((144, 64), (96, 48)), (144, 80): ((96, 48), (48, 32))}
"""Widths of skip connections joined to a map, large and small, and the parts they are joined from."""


def build() -> UNet2DConditionModel:
    """The large U-Net with fewer channels; fewest are taken where the map is largest, for the sake of detail."""
    config = UNet2DConditionModel.load_config(workbench.BUNDLED / "unet")
    model = UNet2DConditionModel.from_config(config, block_out_channels=WIDTHS)
    model.set_attn_processor(AttnProcessor())
    return model


def chosen(large: int, small: int) -> Tensor:
    """The channels of the large U-Net that the small one starts from, evenly spaced in each part of a joined map.

    Evenly spaced choices of 144, of its halves and of its heads agree, so that layers still fit each other.
    """
    offset, found = 0, []
    for theirs, ours in JOINED.get((large, small), ((large, small),)):
        found.append(offset + torch.arange(ours) * theirs // ours)
        offset += theirs
    return torch.cat(found)


@torch.no_grad()
def start_from(large: UNet2DConditionModel, small: UNet2DConditionModel) -> None:
    """Give the small U-Net every weight of the large one between chosen channels."""
    theirs = large.state_dict()
    for name, ours in small.state_dict().items():
        weight = theirs[name]
        for axis, width in enumerate(ours.shape):
            if weight.shape[axis] != width:
                weight = weight.index_select(axis, chosen(weight.shape[axis], width))
        ours.copy_(weight)


@cache
def tokenizer() -> CLIPTokenizer:
    """The bundled model's."""
    return CLIPTokenizer.from_pretrained(workbench.BUNDLED / "tokenizer")


def tokens(captions: list[str]) -> Tensor:
    """Token ids padded to the full length, as the pipeline does."""
    return tokenizer()(captions, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]


class Distillation(nn.Module):
    """The small U-Net beside the frozen parts of the bundled model; the forward pass is the training loss."""

    def __init__(self) -> None:
        super().__init__()
        self.small = build()
        self.large = UNet2DConditionModel.from_pretrained(workbench.BUNDLED / "unet").requires_grad_(False)
        self.large.set_attn_processor(AttnProcessor())
        self.text = CLIPTextModel.from_pretrained(workbench.BUNDLED / "text_encoder").requires_grad_(False)

    def forward(self, batch: tuple[Tensor, Tensor, Tensor, Tensor], *, taught: bool) -> Tensor:
        """Error against the large U-Net's prediction, or the true velocity, with the weights of the large one's loss.

        The large one predicts the mean over all pictures that could be under this noise, a target with far less
        variance. That matters once the small one is good; before, the true velocity teaches as much in less time.
        """
        latents, ids, times, noise = batch
        kept = ALPHA_BARS[times].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                states = self.text(ids).last_hidden_state
                if taught:
                    wanted = self.large(noisy, times, states).sample.float()
                else:
                    wanted = kept.sqrt() * noise - (1 - kept).sqrt() * latents
            predicted = self.small(noisy, times, states).sample.float()
        weight = LOSS_WEIGHTS[times] / DRAW_WEIGHTS[times]
        return (weight * functional.mse_loss(predicted, wanted, reduction="none").mean((1, 2, 3))).mean()


def train(plan: Plan, untaught: int) -> None:
    """Train, or go on; the first `untaught` steps without the large U-Net. Process 0 writes checkpoints."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.manual_seed(0)
    model = Distillation().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.small.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
    )
    start_from(model.large, model.small)
    average, first = Average(model.small), 0
    if state := workbench.load_checkpoint("device"):
        model.small.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights, first = state["average"], state["step"]
    batches = Batches(tokens)
    if rank != 0:
        for step in range(first, plan.total):
            _one_step(model, optimizer, plan, batches.draw(step, rank, plan.batch), step, taught=step >= untaught)
        return
    curve, saved = workbench.LossCurve("device", first_step=first), time.monotonic()
    for step, _ in workbench.steps(first, plan.total, "device U-Net"):
        batch = batches.draw(step, 0, plan.batch)
        curve.add(step, _one_step(model, optimizer, plan, batch, step, taught=step >= untaught))
        average.update(model.small, step)
        if time.monotonic() - saved > CHECKPOINT_SECONDS or step + 1 == plan.total:
            state = {"model": model.small.state_dict(), "average": average.weights, "step": step + 1}
            workbench.save_checkpoint("device", {**state, "optimizer": optimizer.state_dict()})
            curve.draw()
            saved = time.monotonic()
            loss = curve.rows()[-1][1] if curve.rows() else float("nan")
            print(f"{time.strftime('%H:%M:%S')} step {step + 1} loss {loss:.4f}", flush=True)


def _one_step(
    model: Distillation,
    optimizer: torch.optim.AdamW,
    plan: Plan,
    batch: tuple[Tensor, Tensor, Tensor, Tensor],
    step: int,
    *,
    taught: bool,
) -> float:
    parameters = list(model.small.parameters())
    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(step)
    loss = model(batch, taught=taught)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    share_gradients(parameters)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return loss.item()


def main() -> None:
    """Read the plan and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_800)
    parser.add_argument("--untaught", type=int, default=800)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    arguments = parser.parse_args()
    if "RANK" not in os.environ:
        raise SystemExit("start with: torchrun --standalone --nproc-per-node 2 training/device.py")
    plan = Plan(total=arguments.steps, batch=arguments.batch, rate=arguments.rate)
    train(plan, arguments.untaught)


if __name__ == "__main__":
    main()
