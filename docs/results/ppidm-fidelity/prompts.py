"""Writes prompts.csv: captions that the bundled model was made for, with seeds; 50 of them, always the same."""

import csv
from pathlib import Path

import numpy as np

from sfumato.portraits import caption, draw_attributes

generator = np.random.default_rng(2025)
with (Path(__file__).parent / "prompts.csv").open("w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow(["prompt", "evaluation_seed"])
    for seed in range(50):
        writer.writerow([caption(draw_attributes(generator), generator), seed])
