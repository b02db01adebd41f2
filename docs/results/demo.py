"""Draws ``demo.png``: prompts, the unsplit picture, the same from four clouds, and the tile that one cloud works on.

Run from the repository: ``.venv/bin/python docs/results/demo.py``
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sfumato import Plain, StripSplit, simulate
from sfumato.metrics.pictures import psnr
from sfumato.protocols.strip_split.tiling import tiling_of

PROMPTS = (
    "a young woman with red hair and glasses, blue background",
    "an old man with a grey beard and a hat, at the sea",
    "a smiling Black woman with curly hair in a yellow shirt, city background",
    "a young Chinese man with a beanie, night sky background",
)
CLOUDS, SCALE, GAP, HEAD = 4, 2, 12, 64


def tile_only(picture: np.ndarray, cloud: int) -> np.ndarray:
    """The picture over one cloud's tile of the latent; the rest grey."""
    side = 32
    tile = tiling_of(CLOUDS, 0, side, side, 3).tiles(0)[cloud]
    factor = picture.shape[0] // side
    rows, columns = (slice(lines.start * factor, lines.stop * factor) for lines in tile)
    out = np.full_like(picture, 225)
    out[rows, columns] = picture[rows, columns]
    return out


def main() -> None:
    size = 128 * SCALE
    sheet = Image.new("RGB", (GAP + len(PROMPTS) * (size + GAP), HEAD + 3 * (size + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    plain, split = simulate("portraits", Plain()), simulate("portraits", StripSplit(num_clouds=CLOUDS))
    for column, prompt in enumerate(PROMPTS):
        whole, parts = (pipe(prompt, seed=7, output_type="np").images[0] for pipe in (plain, split))
        x = GAP + column * (size + GAP)
        middle = prompt.find(" ", len(prompt) // 2 - 4)
        decibels = psnr(parts[None], whole[None])[0]
        alike = "every byte the same" if np.isinf(decibels) else f"{decibels:.0f} dB"
        draw.multiline_text((x, 6), f"{prompt[:middle]}\n{prompt[middle + 1:]}\nsplit: {alike}", "black", font)
        for row, picture in enumerate((whole, parts, tile_only(parts, 1))):
            tile = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
            sheet.paste(tile, (x, HEAD + row * (size + GAP)))
    sheet.save(Path(__file__).with_name("demo.png"), optimize=True)


if __name__ == "__main__":
    main()
