"""Where clouds of one run follow different protocols, each protocol's clouds have a view of their own."""

import pytest

from recorded import served
from sfumato.attacks.seen.catalog import reader_of
from sfumato.attacks.view import RunView
from sfumato.client.wrapped_clouds import KeptClouds
from sfumato.errors import LacksInput
from sfumato.protocols.homomorphic.spec import Homomorphic
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.simulation import InProcessClouds, simulate
from sfumato.wire.selection import keep_all

pytest.importorskip("tenseal")


def test_views_of_a_composed_run(tiny_sd):
    spec = Homomorphic(denoise_with="strip-split", num_clouds=3)
    clouds = KeptClouds(InProcessClouds(served(tiny_sd), spec.num_clouds), keep_all)
    pipeline = simulate(tiny_sd, spec, scheduler="ddim", clouds=clouds, denoise_with=StripSplit(num_clouds=2))
    pipeline("anything", num_inference_steps=1, seed=1, height=32, width=32, output_type="latent")
    recording = clouds.taken()
    first, others = RunView.of_parts(recording, tiny_sd)
    assert (first.spec.name, first.clouds) == ("homomorphic", (0,))
    assert (others.spec.name, others.clouds) == ("strip-split", (0, 1))
    with pytest.raises(LacksInput):
        reader_of(first).latents(first)
    last = RunView.of(recording, tiny_sd, ["cloud-3"])
    assert (last.spec, last.clouds) == (others.spec, (1,))
    assert reader_of(last).latents(last)[0].window.bottom == 16
    assert RunView.of(recording, tiny_sd).spec == first.spec
    with pytest.raises(ValueError, match="cloud-1, cloud-2 follow different protocols"):
        RunView.of(recording, tiny_sd, ["cloud-1", "cloud-2"])
