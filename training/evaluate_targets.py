"""Step 16: the figures of the targets' cards, from paintings that no training script uses.

    python training/evaluate_targets.py

Needs the exported folders. Writes `docs/results/portraits-targets/`: `accuracy.json`, and `README.md` with its table.
"""

import argparse
import json
from math import floor

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch

from clip_pictures import UNSEEN, shown_codes
from paint import attribute_codes
from sfumato.attacks.targets import Target, load_target
from sfumato.portraits import VALUES, draw_attributes, paint

HELD_OUT_SEED = 999_999
RESULTS = workbench.RESULTS.with_name("portraits-targets")
NAMES = ("portraits-resnet", "portraits-vit")
BATCH = 50


def held_out(count: int) -> tuple[torch.Tensor, np.ndarray]:
    """Pictures in [0, 1] and the codes of what can be seen in them."""
    generator = np.random.default_rng(HELD_OUT_SEED)
    people = [draw_attributes(generator) for _ in range(count)]
    pictures = np.stack([paint(person, generator) for person in people])
    codes = shown_codes(np.array([attribute_codes(person) for person in people]))
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(255), codes


@torch.no_grad()
def accuracy(target: Target, pictures: torch.Tensor, codes: np.ndarray) -> dict[str, float]:
    """Share of pictures read rightly; hair colour where it can be seen, beards of men."""
    assert target.heads is not None
    logits = torch.cat([target.network(target.preprocess(part)).logits for part in pictures.split(BATCH)])
    found = target.heads.most_likely(logits)
    results = {}
    for column, name in enumerate(VALUES):
        judged = codes[:, column] != UNSEEN
        if name == "beard":
            judged &= codes[:, 0] == VALUES["gender"].index("man")
        results[name] = round(float(np.mean((found[name].numpy() == codes[:, column])[judged])), 4)
    return results


def most_common(codes: np.ndarray) -> dict[str, float]:
    """What always saying the most common value would get, of the same pictures."""
    results = {}
    for column, name in enumerate(VALUES):
        judged = codes[:, column] != UNSEEN
        if name == "beard":
            judged &= codes[:, 0] == VALUES["gender"].index("man")
        results[name] = round(float(np.bincount(codes[judged, column]).max() / judged.sum()), 4)
    return results


def table(scores: dict[str, dict[str, float]]) -> str:
    """Rows of attributes, in %, rounded down."""
    lines = [f"| attribute | {' | '.join(scores)} |", "|---|" + "---|" * len(scores)]
    for name in VALUES:
        cells = [f"{floor(1000 * values[name]) / 10:.1f}" for values in scores.values()]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Evaluate both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pictures, codes = held_out(arguments.pictures)
    scores = {name: accuracy(load_target(name), pictures, codes) for name in NAMES}
    scores["most common value"] = most_common(codes)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "accuracy.json").write_text(json.dumps({"pictures": arguments.pictures, **scores}, indent=1) + "\n")
    (RESULTS / "README.md").write_text(
        "# portraits-resnet and portraits-vit\n\n"
        f"Attributes read rightly, %, rounded down, of {arguments.pictures} paintings that no training script uses. "
        "Hair colour where it shows; beards of men only.\n\n"
        f"{table(scores)}\n\nMade by `python training/evaluate_targets.py`.\n"
    )
    print(table(scores))


if __name__ == "__main__":
    main()
