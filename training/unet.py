"""Step 4: train the U-Net, and the text encoder with it, in two single-thread processes.

    torchrun --standalone --nproc-per-node 2 training/unet.py --steps 7500

Two processes with bf16 autocast beat one process with two threads on small feature maps. Gradients are averaged over
gloo. The schedule is in steps: a resumed run may be given another total, which moves the decay.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, distributed, nn
from torch.nn import functional

import text_encoder
from paint import attributes_from_codes
from sfumato.portraits import caption

WIDTHS = (48, 96, 144)
SCALING_FACTOR = 1.0
NO_CAPTION = 0.1
TIMESTEPS = 1000
BETAS = torch.linspace(1e-4, 2e-2, TIMESTEPS, dtype=torch.float64)
ALPHA_BARS = torch.cumprod(1 - BETAS, 0).float()
SNR = ALPHA_BARS / (1 - ALPHA_BARS)
LOSS_WEIGHTS = SNR.clamp(max=5) / (SNR + 1)
DRAW_WEIGHTS = LOSS_WEIGHTS + 0.15
"""Timesteps are drawn in proportion to this, so that few passes go to losses that hardly count."""


def build() -> UNet2DConditionModel:
    """Three resolutions, attention at 16 x 16 and 8 x 8."""
    model = UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=WIDTHS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_encoder.WIDTH,
        attention_head_dim=(2, 3, 4),
        norm_num_groups=8,
    )
    # PyTorch's fused attention spends a quarter of a training step in its backward pass on these short sequences.
    model.set_attn_processor(AttnProcessor())
    return model


class Painter(nn.Module):
    """Text encoder and U-Net as one module, whose forward pass is the training loss."""

    def __init__(self) -> None:
        super().__init__()
        self.text = text_encoder.build()
        self.unet = build()

    def forward(self, latents: Tensor, ids: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """v-prediction error weighted by min(SNR, 5) / (SNR + 1), corrected for how timesteps are drawn."""
        kept = ALPHA_BARS[times].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        velocity = kept.sqrt() * noise - (1 - kept).sqrt() * latents
        with torch.autocast("cpu", torch.bfloat16):
            states = self.text(ids).last_hidden_state
            noisy = noisy.contiguous(memory_format=torch.channels_last)
            predicted = self.unet(noisy, times, states).sample
        weight = LOSS_WEIGHTS[times] / DRAW_WEIGHTS[times]
        return (weight * functional.mse_loss(predicted.float(), velocity, reduction="none").mean((1, 2, 3))).mean()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of a run; `batch` is per process."""

    total: int
    batch: int
    rate: float
    constant_share: float = 0.5
    text_rate_factor: float = 0.25

    def rate_at(self, step: int) -> float:
        """Warm-up over 150 steps, constant, then a cosine down to 1 %."""
        done = max(0.0, step / self.total - self.constant_share) / (1 - self.constant_share)
        decay = 0.01 + 0.99 * (0.5 + 0.5 * np.cos(np.pi * min(1.0, done)))
        return self.rate * min(1.0, (step + 1) / 150) * decay


class Batches:
    """Latents with fresh captions; what process `rank` sees in a step depends on both and the seed only."""

    def __init__(self, tokens: Callable[[list[str]], Tensor] = text_encoder.tokens) -> None:
        self._tokens = tokens
        self._latents = np.load(workbench.RUNS / "latents.npy", mmap_mode="r")
        self._codes = np.load(workbench.RUNS / "attributes.npy")

    def draw(self, step: int, rank: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scaled latents, token ids, timesteps (stratified over the batch) and noise."""
        generator = np.random.default_rng((5, rank, step))
        rows = generator.integers(0, len(self._latents), count)
        captions = [
            ""
            if generator.random() < NO_CAPTION
            else caption(attributes_from_codes(self._codes[row]), generator, leave_out=0.1)
            for row in rows
        ]
        latents = torch.from_numpy(self._latents[rows].astype(np.float32)) * SCALING_FACTOR
        spread = (np.arange(count) + generator.random(count)) / count
        shares = (torch.cumsum(DRAW_WEIGHTS, 0) / DRAW_WEIGHTS.sum()).numpy()
        times = torch.from_numpy(np.searchsorted(shares, spread)).clamp(max=TIMESTEPS - 1)
        noise = torch.from_numpy(generator.standard_normal(latents.shape, dtype=np.float32))
        return latents, self._tokens(captions), times, noise


class Average:
    """Exponential moving average of the weights, with a ramp for young runs."""

    def __init__(self, model: nn.Module, decay: float = 0.998) -> None:
        self._decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        keep = min(self._decay, (1 + step) / (10 + step))
        kept, new = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                kept.append(self.weights[name])
                new.append(value)
        torch._foreach_lerp_(kept, new, 1 - keep)


def share_gradients(parameters: list[nn.Parameter]) -> None:
    """Average the gradients of all processes in one message."""
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    offset = 0
    for parameter in parameters:
        parameter.grad.copy_(flat[offset : offset + parameter.numel()].view_as(parameter))
        offset += parameter.numel()


def optimizer_for(model: Painter, plan: Plan) -> torch.optim.AdamW:
    """The text encoder learns at a fraction of the U-Net's rate."""
    groups = [
        {"params": list(model.unet.parameters()), "factor": 1.0},
        {"params": list(model.text.parameters()), "factor": plan.text_rate_factor},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)


def train(plan: Plan) -> None:
    """Train, or go on from `runs/unet.pt`; process 0 writes checkpoints every few minutes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.manual_seed(0)
    model = Painter()
    model.text.load_state_dict(workbench.load_checkpoint("text_encoder")["model"])
    model = model.to(memory_format=torch.channels_last)
    optimizer = optimizer_for(model, plan)
    average, first = Average(model), 0
    if state := workbench.load_checkpoint("unet"):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights, first = state["average"], state["step"]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    batches = Batches()
    if rank != 0:
        for step in range(first, plan.total):
            _one_step(model, optimizer, parameters, plan, batches.draw(step, rank, plan.batch), step)
        return
    curve, saved = workbench.LossCurve("unet", first_step=first), time.monotonic()
    for step, _ in workbench.steps(first, plan.total, "U-Net"):
        curve.add(step, _one_step(model, optimizer, parameters, plan, batches.draw(step, 0, plan.batch), step))
        average.update(model, step)
        if time.monotonic() - saved > 150 or step + 1 == plan.total:
            state = {"model": model.state_dict(), "average": average.weights, "step": step + 1}
            workbench.save_checkpoint("unet", {**state, "optimizer": optimizer.state_dict()})
            curve.draw()
            saved = time.monotonic()
            print(f"{time.strftime('%H:%M:%S')} step {step + 1} loss {curve.rows()[-1][1]:.4f}", flush=True)


def _one_step(
    model: Painter,
    optimizer: torch.optim.AdamW,
    parameters: list[nn.Parameter],
    plan: Plan,
    batch: tuple[Tensor, Tensor, Tensor, Tensor],
    step: int,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(step) * group["factor"]
    loss = model(*batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    share_gradients(parameters)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return loss.item()


def main() -> None:
    """Read the plan and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=7_500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    arguments = parser.parse_args()
    if "RANK" not in os.environ:
        raise SystemExit("start with: torchrun --standalone --nproc-per-node 2 training/unet.py")
    train(Plan(total=arguments.steps, batch=arguments.batch, rate=arguments.rate))


if __name__ == "__main__":
    main()
