"""Pictures of layer-split are those of plain, to 60 dB on their bytes."""

import numpy as np
import pytest

from recorded import ALL_LAYERS, PROMPT, in_process
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain


def bytes_of(model, spec) -> np.ndarray:
    pipe = in_process(model, spec, "dpm++")
    return pipe(PROMPT, num_inference_steps=4, seed=11, output_type="np").images.astype(np.float64)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.square(a - b).mean()
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.fixture(scope="module")
def plain(tiny_sd) -> np.ndarray:
    return bytes_of(tiny_sd, Plain())


@pytest.mark.parametrize("num_clouds", [1, 2, 4, 8])
def test_exact_merging_gives_60_db(tiny_sd, plain, num_clouds):
    assert psnr(bytes_of(tiny_sd, LayerSplit(num_clouds=num_clouds, offload=ALL_LAYERS)), plain) >= 60


def test_published_merging_does_not(tiny_sd, plain):
    """The control: the measure sees what the paper's merge loses."""
    assert psnr(bytes_of(tiny_sd, LayerSplit(num_clouds=8, merge="paper")), plain) < 60
