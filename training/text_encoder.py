"""Step 3: make the tokenizer and teach the CLIP text encoder to name what a caption says.

    python training/text_encoder.py --steps 700

Writes `runs/tokenizer/` and `runs/text_encoder.pt`. The encoder must let one linear map per attribute read the
mentioned values off a random mean of its states after the end of text; the U-Net then has summaries of the whole
caption to attend to from its first step. It goes on training with the U-Net.
"""

import argparse
import json
import string
from functools import cache
from pathlib import Path

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sfumato.portraits import VALUES, caption, draw_attributes, mentioned
from sfumato.portraits.captions import PIECE

MAX_TOKENS = 48
WIDTH = 128
START, END = "<|startoftext|>", "<|endoftext|>"
SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def make_tokenizer(folder: Path) -> None:
    """Byte-level BPE in which every word of the grammar is one token; others fall back to pieces and bytes."""
    generator = np.random.default_rng(11)
    pieces = {
        piece.lower() for _ in range(20_000) for piece in PIECE.findall(caption(draw_attributes(generator), generator))
    }
    words = sorted(pieces | set(string.digits))
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(vocab_size=4000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(words, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*letters, *(f"{letter}</w>" for letter in letters)]
    symbols += list(dict.fromkeys("".join(pair) for pair in pairs))
    vocabulary = {symbol: index for index, symbol in enumerate([*dict.fromkeys(symbols), START, END])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in pairs)]) + "\n")
    options = {"model_max_length": MAX_TOKENS, "bos_token": START, "eos_token": END, "pad_token": END}
    made = CLIPTokenizer.from_pretrained(folder, unk_token=END, **options)
    made.save_pretrained(folder)


@cache
def tokenizer() -> CLIPTokenizer:
    """The tokenizer of `runs/tokenizer`, made at first use."""
    folder = workbench.RUNS / "tokenizer"
    if not (folder / "vocab.json").exists():
        make_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


def tokens(captions: list[str]) -> Tensor:
    """Token ids padded to the full length, as the pipeline does."""
    batch = tokenizer()(captions, padding="max_length", max_length=MAX_TOKENS, truncation=True)
    return torch.tensor(batch["input_ids"])


def build() -> CLIPTextModel:
    """Three layers of width 128."""
    words = tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.eos_token_id,
    )
    return CLIPTextModel(config)


class Reader(nn.Module):
    """One linear map per attribute, on a random mean of the states from the end of text on."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, len(values)) for name, values in VALUES.items()})

    def forward(self, states: Tensor, ids: Tensor) -> dict[str, Tensor]:
        after_end = (ids == tokenizer().eos_token_id).float()
        weights = after_end * torch.rand_like(after_end).square()
        pooled = (states * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1)
        return {name: head(pooled) for name, head in self.heads.items()}


def labelled(generator: np.random.Generator, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Token ids of fresh captions, and for each attribute the value's index, or -100 where it is not said."""
    captions, labels = [], {name: [] for name in VALUES}
    for _ in range(count):
        text = caption(draw_attributes(generator), generator, leave_out=0.2)
        captions.append(text)
        found = mentioned(text)
        for name, values in VALUES.items():
            labels[name].append(values.index(found[name]) if name in found else -100)
    return tokens(captions), {name: torch.tensor(codes) for name, codes in labels.items()}


def train(total: int, threads: int) -> None:
    """AdamW with a linear decay; short enough to need no resumption."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    encoder, reader = build(), Reader()
    parameters = [*encoder.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    curve = workbench.LossCurve("text_encoder", first_step=0)
    for step, _ in workbench.steps(0, total, "text encoder"):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 100) * (1 - 0.95 * step / total)
        ids, labels = labelled(np.random.default_rng((3, step)), 64)
        scores = reader(encoder(ids).last_hidden_state, ids)
        loss = torch.stack([functional.cross_entropy(scores[name], labels[name]) for name in VALUES]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.add(step, loss.item())
    workbench.save_checkpoint("text_encoder", {"model": encoder.state_dict(), "step": total})
    curve.draw()
    ids, labels = labelled(np.random.default_rng((4, 0)), 1000)
    with torch.no_grad():
        scores = reader(encoder(ids).last_hidden_state, ids)
    for name in VALUES:
        said = labels[name] >= 0
        print(f"{name}: {float((scores[name].argmax(1) == labels[name])[said].float().mean()):.3f}")


def main() -> None:
    """Train from scratch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    make_tokenizer(workbench.RUNS / "tokenizer")
    train(arguments.steps, arguments.threads)


if __name__ == "__main__":
    main()
