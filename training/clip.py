"""Step 8: train the image-text encoder, a small CLIP, on painted portraits and captions drawn anew at each sight.

    python training/clip.py --steps 2000

Writes `runs/clip.pt`; goes on where it was stopped. Captions leave things out, so many of a batch are true of many
pictures: a pair counts as positive where nothing contradicts it, as negative otherwise. The text tower starts from
the bundled model's. One linear map per attribute on the pooled image features adds a classification loss.
"""

import argparse

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPTokenizerFast

from clip_pictures import UNSEEN, Batch, draw_batch
from sfumato.portraits import VALUES

SIDE, PATCH, WIDTH, LAYERS = 128, 16, 160, 6
EMBEDDING = 128
BATCH = 64
LARGEST_SCALE = 4.6
READ_OUT_WEIGHT = 2.0
PATCH_FLOOR = 0.01
"""Added to the variances of whitened patch components: those below it are noise to the eye."""


class Encoder(nn.Module):
    """The CLIP model that is exported and the linear read-out of attributes."""

    def __init__(self) -> None:
        super().__init__()
        text = CLIPTextModel.from_pretrained(workbench.BUNDLED / "text_encoder", dtype=torch.float32)
        vision = {
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 5,
            "image_size": SIDE,
            "patch_size": PATCH,
            "hidden_act": "gelu",
        }
        config = CLIPConfig(text_config=text.config.to_dict(), vision_config=vision, projection_dim=EMBEDDING)
        self.clip = CLIPModel._from_config(config, attn_implementation="eager")
        self.clip.text_model.load_state_dict(text.state_dict())
        embeddings = self.clip.vision_model.embeddings
        embeddings.position_embedding.weight.data[1:] = grid_waves(SIDE // PATCH, WIDTH)
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, len(values)) for name, values in VALUES.items()})
        self.tokenizer = CLIPTokenizerFast.from_pretrained(workbench.BUNDLED / "tokenizer")

    def forward(self, pictures: Tensor, captions: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Similarities (picture, caption), scaled, and attribute scores."""
        pooled = self.clip.vision_model(pixel_values=pictures * 2 - 1).pooler_output
        images = functional.normalize(self.clip.visual_projection(pooled).float(), dim=-1)
        words = self.tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
        said = self.clip.text_model(input_ids=words["input_ids"]).pooler_output
        texts = functional.normalize(self.clip.text_projection(said).float(), dim=-1)
        scores = {name: head(pooled).float() for name, head in self.heads.items()}
        return images @ texts.T * self.clip.logit_scale.exp(), scores


def grid_waves(side: int, width: int) -> Tensor:
    """Sines and cosines of a token's row and column, one row a token: places are told apart from the first step."""
    frequencies = 1 / 30 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = waves.repeat_interleave(side, 0), waves.repeat(side, 1)
    return torch.cat([rows, columns], 1)


def whitened_patches(pictures: Tensor, patch: int, width: int) -> Tensor:
    """Filters that give a patch's main components equal strength; random ones would show little but its mean colour."""
    patches = functional.unfold(pictures * 2 - 1, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    variances, directions = torch.linalg.eigh(patches.T.cov())
    scaled = directions[:, -width:] / (variances[-width:] + PATCH_FLOOR).sqrt()
    return scaled.T.reshape(width, 3, patch, patch)


def contrast(similarities: Tensor, contradicted: Tensor) -> Tensor:
    """For each row, how badly its true entries beat its contradicted ones; rows without a true entry do not count.

    Source: InfoNCE with several positives, each against the negatives only (Khosla 2020, arXiv 2004.11362, eq. 2,
    whose denominator holds the other positives too).
    """
    rivals = similarities.masked_fill(~contradicted, -1e4).logsumexp(1, keepdim=True)
    losses = functional.softplus(rivals - similarities).masked_fill(contradicted, 0)
    num_true = (~contradicted).sum(1)
    return (losses.sum(1) / num_true.clamp(min=1)).sum() / (num_true > 0).sum()


def loss_of(model: Encoder, batch: Batch) -> Tensor:
    """Both directions of the contrast, and the read-out."""
    with torch.autocast("cpu", torch.bfloat16):
        similarities, scores = model(batch.pictures, batch.captions)
    contradicted = batch.contradictions()
    contrastive = contrast(similarities, contradicted) + contrast(similarities.T, contradicted.T)
    read_out = torch.stack(
        [
            functional.cross_entropy(scores[name], batch.shown[:, column], ignore_index=UNSEEN)
            for column, name in enumerate(VALUES)
        ]
    )
    return contrastive + READ_OUT_WEIGHT * read_out.mean()


def optimizer_of(model: Encoder) -> torch.optim.AdamW:
    """A smaller rate for the text tower, which is trained already; no decay of gains, biases and the scale."""
    groups = []
    for is_text in (False, True):
        for decays in (False, True):
            chosen = [
                value
                for name, value in model.named_parameters()
                if name.startswith("clip.text_model") is is_text and (value.ndim > 1) is decays
            ]
            groups.append({"params": chosen, "weight_decay": 0.03 * decays, "share": 0.3 if is_text else 1.0})
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def rate_at(step: int, total: int, highest: float) -> float:
    """Warm-up, then a cosine down to a fiftieth."""
    return highest * min(1.0, (step + 1) / 100) * (0.51 + 0.49 * float(np.cos(np.pi * step / total)))


def train(total: int, highest_rate: float, threads: int) -> None:
    """AdamW; resumes from `runs/clip.pt`."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Encoder()
    sample = torch.cat([draw_batch((10, index), BATCH).pictures for index in range(8)])
    model.clip.vision_model.embeddings.patch_embedding.weight.data = whitened_patches(sample, PATCH, WIDTH)
    optimizer = optimizer_of(model)
    first = 0
    if state := workbench.load_checkpoint("clip"):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    curve = workbench.LossCurve("clip", first_step=first)
    for step, _ in workbench.steps(first, total, "image-text encoder"):
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * rate_at(step, total, highest_rate)
        loss = loss_of(model, draw_batch((9, step), BATCH))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.clip.logit_scale.data.clamp_(max=LARGEST_SCALE)
        curve.add(step, loss.item())
        if (step + 1) % 50 == 0 or step + 1 == total:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            workbench.save_checkpoint("clip", state)
    curve.draw()


def trained() -> tuple[Encoder, int]:
    """The encoder of `runs/clip.pt` and its number of steps."""
    state = workbench.load_checkpoint("clip")
    if state is None:
        raise FileNotFoundError("runs/clip.pt is missing: run training/clip.py first")
    model = Encoder()
    model.load_state_dict(state["model"])
    return model.eval(), state["step"]


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    train(arguments.steps, arguments.rate, arguments.threads)


if __name__ == "__main__":
    main()
