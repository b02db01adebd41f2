"""The split run against the unsplit one, all parties in this process."""

import numpy as np

from sfumato import LayerSplit, Plain, simulate


def main() -> None:
    specs = [Plain(), LayerSplit(num_clouds=4), LayerSplit(num_clouds=4, merge="paper")]
    pictures = []
    for spec in specs:
        pipe = simulate("portraits", spec, scheduler="ddim")
        output = pipe("a smiling young woman with red hair", num_inference_steps=20, seed=7, output_type="np")
        pictures.append(output.images.astype(float))
    for spec, picture in zip(specs[1:], pictures[1:], strict=True):
        error = np.square(picture - pictures[0]).mean()
        psnr = "identical" if error == 0 else f"{10 * np.log10(255**2 / error):.1f} dB"
        print(f"merge={spec.merge}: {psnr} to plain")


if __name__ == "__main__":
    main()
