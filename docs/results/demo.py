"""Draws ``demo.png``: prompts, the unsplit picture, the same from four clouds, and the strip that one cloud works on.

Run from the repository: ``.venv/bin/python docs/results/demo.py``
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sfumato import LayerSplit, Plain, simulate
from sfumato.metrics.pictures import psnr
from sfumato.protocols.partition import Partition

PROMPTS = (
    "a young woman with red hair and glasses, blue background",
    "an old man with a grey beard and a hat, at the sea",
    "a smiling Black woman with curly hair in a yellow shirt, city background",
    "a young Chinese man with a beanie, night sky background",
)
CLOUDS, SCALE, GAP, HEAD = 4, 2, 12, 64


def strip_only(picture: np.ndarray, cloud: int) -> np.ndarray:
    """The rows of the picture over one cloud's rows of the latent; the others grey."""
    latent_rows = 32
    rows = Partition(latent_rows, CLOUDS, 3).strips(latent_rows)[cloud]
    factor = picture.shape[0] // latent_rows
    out = np.full_like(picture, 225)
    out[rows.start * factor : rows.stop * factor] = picture[rows.start * factor : rows.stop * factor]
    return out


def main() -> None:
    size = 128 * SCALE
    sheet = Image.new("RGB", (GAP + len(PROMPTS) * (size + GAP), HEAD + 3 * (size + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    plain, split = simulate("portraits", Plain()), simulate("portraits", LayerSplit(num_clouds=CLOUDS))
    for column, prompt in enumerate(PROMPTS):
        whole, parts = (pipe(prompt, seed=7, output_type="np").images[0] for pipe in (plain, split))
        x = GAP + column * (size + GAP)
        middle = prompt.find(" ", len(prompt) // 2 - 4)
        decibels = psnr(parts[None], whole[None])[0]
        alike = "every byte the same" if np.isinf(decibels) else f"{decibels:.0f} dB"
        draw.multiline_text((x, 6), f"{prompt[:middle]}\n{prompt[middle + 1:]}\nsplit: {alike}", "black", font)
        for row, picture in enumerate((whole, parts, strip_only(parts, 1))):
            tile = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
            sheet.paste(tile, (x, HEAD + row * (size + GAP)))
    sheet.save(Path(__file__).with_name("demo.png"), optimize=True)


if __name__ == "__main__":
    main()
