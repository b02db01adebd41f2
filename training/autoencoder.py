"""Step 2: train the autoencoder (128 x 128 x 3 <-> 32 x 32 x 4) and encode all pictures.

    python training/autoencoder.py --steps 8000
    python training/autoencoder.py --encode

`--encode --bundled` encodes with the autoencoder of the bundled model instead of the one in `runs/`.
The latent's first three channels are held close to a thumbnail of the picture (luma, blue and red axes), so that
they are decorrelated, near unit variance and easy for the U-Net; the fourth is free for detail.
"""

import argparse

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from torch.nn import functional

LATENT_NOISE = 0.15
THUMBNAIL_WEIGHT = 0.02
COLOUR_AXES = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
AXIS_GAINS = torch.tensor([4.4, 10.8, 10.4])
DETAIL_WEIGHT = 0.02
HELD_OUT = 64
"""Pictures at the end that are not learned from; the PSNR that is printed is theirs."""


def build() -> AutoencoderTiny:
    """An f4 AutoencoderTiny without blocks at full resolution, where they would cost most."""
    model = AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32),
        decoder_block_out_channels=(32, 32, 32),
        num_encoder_blocks=(0, 1, 2),
        num_decoder_blocks=(3, 2, 0),
        latent_channels=4,
        scaling_factor=1.0,
    )
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if name.endswith("conv.4"):
                module.weight.data.mul_(0.2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    last = [module for module in model.decoder.modules() if isinstance(module, nn.Conv2d)][-1]
    last.weight.data.mul_(0.2)
    nn.init.constant_(last.bias, 0.5)
    return model


def thumbnail(pictures: Tensor) -> Tensor:
    """Block means of pictures in [0, 1] on the colour axes, scaled to about unit variance."""
    small = functional.avg_pool2d(pictures - 0.5, 4)
    return torch.einsum("ij,bjhw->bihw", COLOUR_AXES * AXIS_GAINS[:, None], small)


def loss_of(model: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """L1, MSE, gradient and thumbnail terms; pictures in [0, 1]."""
    latents = model.encoder(pictures * 2 - 1).float()
    decoded = model.decoder(latents + LATENT_NOISE * torch.randn_like(latents)).float()
    decoded = (decoded + 1) / 2
    error = decoded - pictures
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    anchor = functional.mse_loss(latents[:, :3], thumbnail(pictures))
    detail = latents[:, 3]
    spread = detail.mean().square() + (detail.std() - 0.9).square()
    sharpness = error.abs().mean() + 2 * error.square().mean() + 0.5 * edges
    return sharpness + THUMBNAIL_WEIGHT * anchor + DETAIL_WEIGHT * spread


def crops(pictures: np.ndarray, generator: np.random.Generator, count: int, side: int = 64) -> Tensor:
    """Random squares of random pictures; the model has no norms, so squares train it exactly."""
    batch = np.empty((count, side, side, 3), np.uint8)
    for row in range(count):
        top, left = generator.integers(0, 128 - side + 1, 2)
        batch[row] = pictures[generator.integers(len(pictures)), top : top + side, left : left + side]
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float().div(255)


def train(name: str, model: AutoencoderTiny, pictures: np.ndarray, total: int, threads: int, rate: float) -> None:
    """Adam with a cosine rate; resumes from `runs/<name>.pt`."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.99))
    first = 0
    if state := workbench.load_checkpoint(name):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    curve = workbench.LossCurve(name, first_step=first)
    for step, _ in workbench.steps(first, total, name):
        decayed = rate * (0.51 + 0.49 * np.cos(np.pi * step / total))
        for group in optimizer.param_groups:
            group["lr"] = decayed * min(1.0, (step + 1) / 100)
        batch = crops(pictures[:-HELD_OUT], np.random.default_rng((1, step)), 12)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, batch.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        curve.add(step, loss.item())
        if (step + 1) % 500 == 0 or step + 1 == total:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            workbench.save_checkpoint(name, state)
            print(f"step {step + 1}: {psnr(model, pictures[-HELD_OUT:]):.2f} dB", flush=True)
    curve.draw()


@torch.no_grad()
def psnr(model: AutoencoderTiny, pictures: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio of round trips in fp32, in dB."""
    batch = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().div(255)
    decoded = ((model.decoder(model.encoder(batch * 2 - 1)) + 1) / 2).clamp(0, 1)
    return float((-10 * (decoded - batch).square().mean((1, 2, 3)).log10()).mean())


def trained() -> AutoencoderTiny:
    """The autoencoder of `runs/autoencoder.pt`."""
    state = workbench.load_checkpoint("autoencoder")
    if state is None:
        raise FileNotFoundError("runs/autoencoder.pt is missing: run training/autoencoder.py first")
    model = build()
    model.load_state_dict(state["model"])
    return model.eval()


@torch.no_grad()
def encode(model: AutoencoderTiny, threads: int) -> None:
    """Write `runs/latents.npy` (fp16, unscaled) and print the scaling factor that gives unit variance."""
    torch.set_num_threads(threads)
    pictures = np.load(workbench.RUNS / "pictures.npy", mmap_mode="r")
    latents = np.empty((len(pictures), 4, 32, 32), np.float16)
    for step, _ in workbench.steps(0, (len(pictures) + 63) // 64, "encoding"):
        rows = slice(64 * step, 64 * step + 64)
        batch = torch.from_numpy(np.array(pictures[rows])).permute(0, 3, 1, 2).float().div(127.5) - 1
        latents[rows] = model.encoder(batch.contiguous(memory_format=torch.channels_last)).half().numpy()
    np.save(workbench.RUNS / "latents.npy", latents)
    sample = latents[:2000].astype(np.float32)
    print("mean", sample.mean((0, 2, 3)), "std", sample.std((0, 2, 3)), "overall", sample.std())


def main() -> None:
    """Train, or encode with the trained model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--bundled", action="store_true")
    arguments = parser.parse_args()
    if arguments.encode:
        made = AutoencoderTiny.from_pretrained(workbench.BUNDLED / "vae") if arguments.bundled else trained()
        encode(made, arguments.threads)
    else:
        pictures = np.load(workbench.RUNS / "pictures.npy", mmap_mode="r")
        train("autoencoder", build(), pictures, arguments.steps, arguments.threads, arguments.rate)


if __name__ == "__main__":
    main()
