"""Step 1: paint the training pictures and note their attributes.

    python training/paint.py --pictures 40000

Writes `runs/pictures.npy` (uint8, pictures x 128 x 128 x 3) and `runs/attributes.npy` (uint8, one column an
attribute, the index of its value in `sfumato.portraits.VALUES`). Picture i depends on the seed and i only.
"""

import argparse
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from rich.progress import track

from sfumato.portraits.attributes import VALUES, Attributes, draw_attributes
from sfumato.portraits.painter import DEFAULT_SIZE, paint

RUNS = Path(__file__).parent / "runs"
TRAINING_SEED = 2026


def attribute_codes(attributes: Attributes) -> list[int]:
    """The index of each attribute's value."""
    return [VALUES[name].index(value) for name, value in attributes.values().items()]


def attributes_from_codes(codes: np.ndarray) -> Attributes:
    """Inverse of `attribute_codes`."""
    return Attributes(**{name: values[code] for (name, values), code in zip(VALUES.items(), codes, strict=True)})


def paint_one(seeds: tuple[int, int]) -> tuple[np.ndarray, list[int]]:
    """Picture and codes of one pair (seed, index)."""
    generator = np.random.default_rng(seeds)
    attributes = draw_attributes(generator)
    return paint(attributes, generator), attribute_codes(attributes)


def main() -> None:
    """Paint with one process a core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=40_000)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    count = arguments.pictures
    shape = (count, DEFAULT_SIZE, DEFAULT_SIZE, 3)
    pictures = np.lib.format.open_memmap(RUNS / "pictures.npy", "w+", np.uint8, shape)
    codes = np.zeros((count, len(VALUES)), np.uint8)
    with Pool(arguments.processes) as pool:
        jobs = pool.imap(paint_one, [(TRAINING_SEED, index) for index in range(count)], chunksize=64)
        for index, (picture, code) in enumerate(track(jobs, total=count, description="painting")):
            pictures[index], codes[index] = picture, code
    pictures.flush()
    np.save(RUNS / "attributes.npy", codes)


if __name__ == "__main__":
    main()
