import pytest

from sfumato.bench.ways import bench_model, named_way


def test_a_way_is_a_protocol_with_settings():
    way = named_way("strip-split  wire=int8", 2)
    assert way.name == "strip-split wire=int8, n = 2"
    row = way.to_dict()
    assert (row["way"], row["clouds"]) == (way.name, 2)
    assert row["spec"]["protocol"] == "strip-split"
    assert (row["spec"]["wire"], row["spec"]["num_clouds"]) == ("int8", 2)
    assert "attention" in row["spec"], "defaults are written down too"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("homeopathic", "no protocol 'homeopathic'"),
        ("", "no protocol ''"),
        ("layer-split wire=int8", "layer-split has no setting 'wire'"),
        ("strip-split num_clouds=3", "num_clouds is given twice, as 2 and 3"),
    ],
)
def test_a_way_that_cannot_be(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        named_way(text, 2)


def test_a_random_model_is_written_once():
    first = bench_model("random:tiny-sd")
    written = (first.path / "unet/diffusion_pytorch_model.safetensors").stat().st_mtime_ns
    again = bench_model("random:tiny-sd")
    assert (again.path, again.name) == (first.path, "random:tiny-sd")
    assert (again.path / "unet/diffusion_pytorch_model.safetensors").stat().st_mtime_ns == written


def test_an_unknown_random_model():
    with pytest.raises(ValueError, match="no architecture 'sd99'"):
        bench_model("random:sd99")
