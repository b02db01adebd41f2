"""What a caller may say about clouds, and what happens when it does not fit."""

import pytest

from sfumato.client.clouds import find_clouds, spec_for
from sfumato.client.pipeline import PrivatePipeline
from sfumato.client.sessions import open_session
from sfumato.errors import ModelError
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.transport.in_process import InProcessChannel


@pytest.mark.parametrize(
    ("protocol", "clouds", "spec"),
    [
        ("layer-split", None, LayerSplit()),
        ("layer-split", 3, LayerSplit(num_clouds=3)),
        ("layer-split", "a:1,b:2", LayerSplit(num_clouds=2)),
        ("plain", "a:1", Plain()),
        (LayerSplit(num_clouds=2, merge="paper"), 2, LayerSplit(num_clouds=2, merge="paper")),
    ],
    ids=str,
)
def test_the_spec_follows_the_clouds(protocol, clouds, spec):
    assert spec_for(protocol, clouds) == spec


@pytest.mark.parametrize(
    ("protocol", "clouds", "sentence"),
    [
        ("homeopathic", None, "no protocol 'homeopathic': choose one of plain, layer-split"),
        ("plain", 2, "plain has one cloud"),
        ("layer-split", 0, "num_clouds must be at least 1, got 0"),
        (LayerSplit(num_clouds=2), 3, "the spec names 2 clouds and clouds=3 gives 3: make them agree"),
        (LayerSplit(num_clouds=2), "a:1", "the spec names 2 clouds and clouds='a:1' gives 1"),
    ],
    ids=str,
)
def test_clouds_that_do_not_fit_the_spec(protocol, clouds, sentence):
    with pytest.raises(ValueError, match=sentence):
        spec_for(protocol, clouds)


def test_remote_clouds_need_keys(tiny_sd):
    with pytest.raises(ValueError, match="remote clouds need keys"):
        find_clouds("a:1", Plain(), tiny_sd, None)


def test_a_channel_to_another_number_of_clouds_is_refused_before_anything_is_sent():
    channel = InProcessChannel([lambda _: pytest.fail("something was sent")] * 3)
    with pytest.raises(ValueError, match="layer-split is set to 2 clouds and 3 were given: make them agree"):
        open_session(channel, LayerSplit(num_clouds=2), "f" * 64)


class WatchedClouds:
    closed = False

    def close(self):
        self.closed = True


def test_clouds_are_closed_when_the_model_cannot_be_loaded(tiny_sd, tmp_path):
    import shutil

    copy = shutil.copytree(tiny_sd.path, tmp_path / "model")
    shutil.rmtree(copy / "vae")
    clouds = WatchedClouds()
    with pytest.raises(ModelError, match="vae"):
        PrivatePipeline.from_pretrained(copy, protocol="plain", clouds=clouds)
    assert clouds.closed


def test_a_pipeline_closes_its_clouds(tiny_sd):
    clouds = WatchedClouds()
    with PrivatePipeline.from_pretrained(tiny_sd.path, protocol="plain", clouds=clouds):
        assert not clouds.closed
    assert clouds.closed
