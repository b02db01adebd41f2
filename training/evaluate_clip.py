"""Step 10: the figures of the encoder's card, from pictures and captions that no training script uses.

    python training/evaluate_clip.py

Needs the exported folder and what `clip_pictures.py` wrote. Keeps the pictures that the bundled `portraits` model
generates in `runs/clip_generated.npy`. Writes `docs/results/portraits-clip/`: `quality.json` and `neighbours.png`.
"""

import argparse
import json
from pathlib import Path

import workbench  # sets OpenMP's wait policy, so before torch

# isort: split
import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file

from clip_pictures import altered, shown_codes
from evaluate import GUIDANCE, generated, unseen_prompts
from export import folder_bytes
from export_clip import FOLDER
from paint import attribute_codes
from sfumato.metrics.sets import frechet_distance
from sfumato.models.picture_encoder import PictureEncoder
from sfumato.portraits import VALUES, Attributes, caption, draw_attributes, mentioned, paint

HELD_OUT_SEED = 888_888
RESULTS = workbench.RESULTS.with_name("portraits-clip")
ReadOut = dict[str, np.ndarray]


def held_out(count: int) -> tuple[list[Attributes], np.ndarray, list[str]]:
    """Different people, their pictures, and captions that name every attribute."""
    generator = np.random.default_rng(HELD_OUT_SEED)
    people: list[Attributes] = []
    while len(people) < count:
        person = draw_attributes(generator)
        if person not in people:
            people.append(person)
    pictures = np.stack([paint(person, generator) for person in people])
    return people, pictures, [caption(person, generator, leave_out=0.0) for person in people]


def retrieval(pictures: np.ndarray, texts: np.ndarray) -> dict[str, float]:
    """How often the nearest caption of a picture is its own, and the reverse."""
    similarity, own = pictures @ texts.T, np.arange(len(pictures))
    return {
        "picture to text": round(float(np.mean(similarity.argmax(1) == own)), 4),
        "text to picture": round(float(np.mean(similarity.argmax(0) == own)), 4),
    }


def told_apart(encoder: PictureEncoder, people: list[Attributes], pictures: np.ndarray, texts: list[str]) -> float:
    """How often a picture is nearer to its caption than to one of the same person with one attribute changed.

    A change that words do not show, as of a beardless bald person's hair colour, does not count.
    """
    generator = np.random.default_rng(HELD_OUT_SEED + 1)
    others = [caption(altered(person, generator), generator, leave_out=0.0) for person in people]
    counted = [mentioned(text) != mentioned(other) for text, other in zip(texts, others, strict=True)]
    seen = encoder.embed_pictures(pictures)
    margins = (seen * (encoder.embed_texts(texts) - encoder.embed_texts(others))).sum(1)
    return round(float(np.mean(margins[counted] > 0)), 4)


def accuracy(found: ReadOut, people: list[Attributes], named: list[dict[str, str]] | None = None) -> dict[str, float]:
    """Share of pictures read rightly; hair colour where it can be seen, beards on men, and only what was asked for."""
    codes = np.array([attribute_codes(person) for person in people])
    shown = shown_codes(codes)
    results = {}
    for column, name in enumerate(VALUES):
        judged = shown[:, column] >= 0
        if name == "beard":
            judged &= codes[:, 0] == VALUES["gender"].index("man")
        if name == "hair_colour" and named:
            judged &= codes[:, list(VALUES).index("hair_style")] != VALUES["hair_style"].index("bald")
        if named:
            judged &= np.array([name in n or getattr(p, name) == "none" for n, p in zip(named, people, strict=True)])
        results[name] = round(float(np.mean((found[name].argmax(1) == codes[:, column])[judged])), 4)
    return results


def seen_blur(encoder: PictureEncoder, count: int = 200) -> dict[str, float]:
    """How far painted pictures are from themselves after the autoencoder, and from others: Fréchet distances."""
    round_trips = np.load(workbench.RUNS / "round_trips.npy", mmap_mode="r")
    pictures = np.load(workbench.RUNS / "pictures.npy", mmap_mode="r")
    own = encoder.features(np.array(pictures[:count]))
    others = {"own round trips": round_trips[:count], "other pictures": pictures[count : 2 * count]}
    return {name: round(frechet_distance(own, encoder.features(np.array(o))), 2) for name, o in others.items()}


def generated_pictures(prompts: list[str], steps: int) -> np.ndarray:
    """Pictures of the bundled model for these prompts, made at first use."""
    file = workbench.RUNS / "clip_generated.npy"
    if not file.exists():
        np.save(file, generated(workbench.BUNDLED, prompts, 20, steps))
    return np.load(file)


def neighbours(encoder: PictureEncoder, queries: np.ndarray, pictures: np.ndarray, count: int = 7) -> Image.Image:
    """Each query, then the pictures whose features are nearest."""
    seen, known = encoder.features(queries), encoder.features(pictures)
    distances = np.square(seen[:, None] - known[None]).sum(2)
    rows = [
        np.concatenate([query, *pictures[row.argsort()[:count]]], 1)
        for query, row in zip(queries, distances, strict=True)
    ]
    return Image.fromarray(np.concatenate(rows))


def measure(folder: Path, num_painted: int, num_generated: int, steps: int) -> dict[str, object]:
    """All figures of the card."""
    encoder = PictureEncoder(folder)
    people, pictures, texts = held_out(num_painted)
    seen, said = encoder.embed_pictures(pictures[:500]), encoder.embed_texts(texts[:500])
    asked, prompts = unseen_prompts(num_generated)
    made, named = generated_pictures(prompts, steps)[:num_generated], [mentioned(prompt) for prompt in prompts]
    return {
        "parameters": sum(weight.size for weight in load_file(folder / "model.safetensors").values()),
        "folder_bytes": folder_bytes(folder),
        "retrieval": {n: retrieval(seen[:n], said[:n]) for n in (100, 500)},
        "own caption beats one with one attribute changed": told_apart(encoder, people, pictures, texts),
        "Fréchet distance of painted pictures to": seen_blur(encoder),
        "painted": {
            "pictures": num_painted,
            "by captions": accuracy(encoder.attributes_by_captions(pictures), people),
            "by linear maps": accuracy(encoder.attributes(pictures), people),
        },
        "generated": {
            "pictures": num_generated,
            "steps": steps,
            "guidance": GUIDANCE,
            "retrieval": retrieval(encoder.embed_pictures(made), encoder.embed_texts(prompts)),
            "by captions": accuracy(encoder.attributes_by_captions(made), asked, named),
            "by linear maps": accuracy(encoder.attributes(made), asked, named),
        },
    }


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--painted", type=int, default=2000)
    parser.add_argument("--generated", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = measure(arguments.folder, arguments.painted, arguments.generated, arguments.steps)
    made = np.load(workbench.RUNS / "clip_generated.npy")
    arguments.out.mkdir(parents=True, exist_ok=True)
    neighbours(PictureEncoder(arguments.folder), made[:6], held_out(1000)[1]).save(
        arguments.out / "neighbours.png", optimize=True
    )
    (arguments.out / "quality.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(report, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
