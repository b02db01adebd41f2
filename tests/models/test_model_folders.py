"""Model folders: found, read, compared, and refused in one sentence when something is wrong with them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from recorded import in_process, served
from sfumato.errors import ModelError, SfumatoError, Unsupported
from sfumato.models.conditioning import PromptEncoder
from sfumato.models.folder import ModelFolder, find_model
from sfumato.models.loading import load_decoder, load_unet, meta_unet
from sfumato.models.sampling import make_scheduler
from sfumato.models.weights import read_weights, weight_bytes
from sfumato.protocols.layer_split.client import LayerSplitClient
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.simulation import InProcessClouds
from sfumato.worker.sessions import serve_model

UNET = "unet/diffusion_pytorch_model.safetensors"
SMALL = {"height": 32, "width": 32, "num_inference_steps": 2, "seed": 1, "output_type": "latent"}


@pytest.fixture
def copy(tiny_sd, tmp_path) -> Path:
    return shutil.copytree(tiny_sd.path, tmp_path / "model")


def edit(file: Path, **changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def load_all(folder: Path) -> None:
    """What a client and a cloud load between them."""
    model = find_model(folder)
    serve_model(model)
    in_process_parts = (PromptEncoder(model), load_decoder(model), make_scheduler(model, "ddim"))
    assert all(in_process_parts)


def test_an_untouched_copy_loads_and_has_the_same_fingerprint(copy, tiny_sd):
    load_all(copy)
    assert find_model(copy).unet_fingerprint == tiny_sd.unet_fingerprint


class TestFingerprint:
    def test_it_changes_with_one_bit_of_one_weight(self, copy, tiny_sd):
        content = bytearray((copy / UNET).read_bytes())
        content[-1] ^= 1
        (copy / UNET).write_bytes(content)
        assert find_model(copy).unet_fingerprint != tiny_sd.unet_fingerprint

    def test_it_changes_with_the_configuration(self, copy, tiny_sd):
        edit(copy / "unet/config.json", norm_eps=1e-6)
        assert find_model(copy).unet_fingerprint != tiny_sd.unet_fingerprint

    def test_it_does_not_change_with_where_the_model_came_from(self, copy, tiny_sd):
        edit(copy / "unet/config.json", _name_or_path="/somewhere/else", _diffusers_version="9.9")
        edit(copy / "model_index.json", _name_or_path="/somewhere/else")
        (copy / "README.md").write_text("hello")
        assert find_model(copy).unet_fingerprint == tiny_sd.unet_fingerprint

    def test_it_does_not_change_with_what_the_client_alone_uses(self, copy, tiny_sd):
        shutil.rmtree(copy / "vae")
        shutil.rmtree(copy / "text_encoder")
        assert find_model(copy).unet_fingerprint == tiny_sd.unet_fingerprint


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


DAMAGE = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "is not a model folder: it holds no model_index.json"),
    "index is text": (lambda f: (f / "model_index.json").write_text("hello"), "model_index.json cannot be read"),
    "index is a list": (lambda f: (f / "model_index.json").write_text("[]"), "model_index.json is not a configuration"),
    "index of numbers": (lambda f: edit(f / "model_index.json", unet=3), "model_index.json"),
    "index of short lists": (lambda f: edit(f / "model_index.json", unet=["diffusers"]), "model_index.json"),
    "no unet in the index": (lambda f: edit(f / "model_index.json", unet=[None, None]), "has no unet"),
    "no unet": (lambda f: shutil.rmtree(f / "unet"), "unet/config.json is missing"),
    "no unet configuration": (lambda f: (f / "unet/config.json").unlink(), "unet/config.json is missing"),
    "binary configuration": (lambda f: (f / "unet/config.json").write_bytes(b"\xff\xfe\0"), "cannot be read"),
    "no unet weights": (lambda f: (f / UNET).unlink(), "has no safetensors weights for unet"),
    "truncated weights": (lambda f: truncate(f / UNET), "unet/.* is damaged; download or save the model again"),
    "empty weights": (lambda f: (f / UNET).write_bytes(b""), "is damaged"),
    "text for weights": (lambda f: (f / UNET).write_text("version https://git-lfs.github.com/spec/v1"), "is damaged"),
    "weights are a folder": (lambda f: ((f / UNET).unlink(), (f / UNET).mkdir()), "has no safetensors weights"),
    "configuration of a larger model": (
        lambda f: edit(f / "unet/config.json", block_out_channels=[64, 64, 64]),
        "the weights of model 'model' do not fit its configuration",
    ),
    "configuration of a shallower model": (
        lambda f: edit(
            f / "unet/config.json",
            block_out_channels=[32, 64],
            down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        ),
        "do not fit its configuration|config.json and weights are of different models",
    ),
    "configuration of a deeper model": (
        lambda f: edit(f / "unet/config.json", layers_per_block=2),
        "is incomplete: .* tensors of its unet are missing|do not fit its configuration",
    ),
    "configuration that cannot be": (
        lambda f: edit(f / "unet/config.json", down_block_types=["Nonsense"] * 3),
        "nothing can be built from the configuration of its unet",
    ),
    "configuration of the vae": (
        lambda f: shutil.copy(f / "vae/config.json", f / "unet/config.json"),
        "configuration|config.json",
    ),
    "another denoiser": (
        lambda f: edit(f / "model_index.json", unet=["diffusers", "FluxTransformer2DModel"]),
        "denoises with FluxTransformer2DModel; sfumato runs UNet2DConditionModel",
    ),
    "another text encoder": (
        lambda f: edit(f / "model_index.json", text_encoder=["transformers", "T5EncoderModel"]),
        "reads prompts with T5EncoderModel; use a CLIP text encoder",
    ),
    "another decoder": (lambda f: edit(f / "model_index.json", vae=["diffusers", "VQModel"]), "decodes with VQModel"),
    "no vae": (lambda f: shutil.rmtree(f / "vae"), "vae/config.json is missing"),
    "truncated vae": (lambda f: truncate(next((f / "vae").glob("*.safetensors"))), "vae/.* is damaged"),
    "vae configuration that cannot be": (
        lambda f: edit(f / "vae/config.json", down_block_types=["Nonsense"]),
        "nothing can be built from the configuration of its vae",
    ),
    "no text encoder": (lambda f: shutil.rmtree(f / "text_encoder"), "text_encoder"),
    "truncated text encoder": (
        lambda f: truncate(next((f / "text_encoder").glob("*.safetensors"))),
        "text_encoder cannot be loaded",
    ),
    "text encoder weights missing": (
        lambda f: drop_tensors(next((f / "text_encoder").glob("*.safetensors"))),
        "is incomplete: .* tensors of its text_encoder are missing",
    ),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "tokenizer cannot be loaded"),
    "empty vocabulary": (lambda f: (f / "tokenizer/vocab.json").write_text(""), "tokenizer cannot be loaded"),
    "no scheduler": (lambda f: shutil.rmtree(f / "scheduler"), "scheduler/scheduler_config.json is missing"),
    "scheduler that cannot be": (
        lambda f: edit(f / "scheduler/scheduler_config.json", beta_schedule="nonsense"),
        "has a scheduler configuration that ddim cannot use",
    ),
}


def drop_tensors(file: Path) -> None:
    tensors = load_file(file)
    save_file(dict(list(tensors.items())[::2]), file)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_model_is_refused_in_one_sentence(copy, name, capfd):
    damage, sentence = DAMAGE[name]
    damage(copy)
    with pytest.raises((ModelError, Unsupported), match=sentence) as caught:
        load_all(copy)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nosuch", "no model 'nosuch': give a folder, a hub name such as owner/model, or one of the bundled models"),
        ("/nosuch/folder", "no model '/nosuch/folder'"),
        ("./owner/model", "no model './owner/model'"),
        ("", "model folder|no model ''"),
        ("nobody-at-all/no-such-model", "is neither in the local cache nor could it be downloaded"),
    ],
)
def test_a_model_that_cannot_be_found_says_where_was_looked(name, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SfumatoError, match=sentence):
        find_model(name)


def test_a_file_is_not_a_model(tmp_path):
    (tmp_path / "model.txt").write_text("hello")
    with pytest.raises(ModelError, match=r"no model '.*model\.txt'"):
        find_model(tmp_path / "model.txt")


def test_a_client_of_plain_reads_no_weight_of_the_unet(tiny_sd, monkeypatch):
    clouds = InProcessClouds(served(tiny_sd), 1)
    opened = []
    real = read_weights

    def watched(files, wanted, dtype):
        files = list(files)
        opened.extend(file.parent.name for file in files)
        return real(files, wanted, dtype)

    from sfumato.client.pipeline import PrivatePipeline

    monkeypatch.setattr("sfumato.models.loading.read_weights", watched)
    pipe = PrivatePipeline(tiny_sd, Plain(), clouds, torch_dtype=torch.float32, scheduler="ddim")
    assert opened == ["vae"]
    assert all(p.is_meta for p in pipe._unet.parameters())
    pipe("x", **SMALL)
    assert all(p.is_meta for p in pipe._unet.parameters())


@pytest.mark.parametrize(
    ("offload", "absent"),
    [({"conv"}, {"conv"}), ({"pointwise_conv", "norm"}, {"pointwise_conv"}), ({"cross_attention"}, set())],
    ids=str,
)
def test_a_client_of_layer_split_loads_what_is_left_to_it(tiny_sd, offload, absent):
    from sfumato.models.layers import layers_of

    unet = load_unet(tiny_sd, LayerSplitClient(LayerSplit(offload=frozenset(offload))).keeps)
    away = 0
    for _, kind, layer in layers_of(unet):
        own = list(layer.parameters(recurse=False))
        assert all(p.is_meta == (kind in absent) for p in own)
        away += sum(p.numel() * p.element_size() for p in own) if kind in absent else 0
    whole = load_unet(tiny_sd)
    assert weight_bytes(unet) == weight_bytes(whole) - away
    assert weight_bytes(meta_unet(tiny_sd)) == 0


def test_the_report_counts_the_weights_that_were_loaded(tiny_sd):
    pipe = in_process(tiny_sd, LayerSplit(num_clouds=2, offload=frozenset({"conv"})))
    compute = pipe("x", **SMALL).report.compute
    whole = weight_bytes(load_unet(tiny_sd))
    assert compute.cloud_weight_bytes == whole - weight_bytes(pipe._unet) > 0
    assert compute.client_weight_bytes == weight_bytes(pipe._unet) + pipe._prompts.weight_bytes + weight_bytes(
        pipe._decoder
    )


def same_weights(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_weights_in_shards_are_the_same_weights(copy, tiny_sd, variant):
    tensors = list(load_file(copy / UNET).items())
    (copy / UNET).unlink()
    for i, part in enumerate((tensors[::2], tensors[1::2])):
        save_file(dict(part), copy / f"unet/diffusion_pytorch_model{variant}-0000{i + 1}-of-00002.safetensors")
    assert same_weights(load_unet(find_model(copy)), load_unet(tiny_sd))
    (copy / f"unet/diffusion_pytorch_model{variant}-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"is incomplete: .* tensors of its unet are missing"):
        load_unet(find_model(copy))


def test_half_precision_files_are_read_where_there_are_no_others(copy, tiny_sd):
    halves = {name: tensor.half() for name, tensor in load_file(copy / UNET).items()}
    save_file(halves, copy / "unet/diffusion_pytorch_model.fp16.safetensors")
    assert same_weights(load_unet(find_model(copy)), load_unet(tiny_sd)), "full precision comes first"
    (copy / UNET).unlink()
    loaded = load_unet(find_model(copy))
    assert next(loaded.parameters()).dtype is torch.float32
    assert not same_weights(loaded, load_unet(tiny_sd))


def test_a_cached_conversion_is_made_once_and_never_mixed_up(copy, tiny_sd, tmp_path):
    cache = tmp_path / "cache"
    first = load_unet(tiny_sd, dtype=torch.float16, shared_under=cache)
    (file,) = cache.iterdir()
    made = file.stat().st_mtime_ns
    assert same_weights(first, load_unet(find_model(copy), dtype=torch.float16, shared_under=cache))
    assert file.stat().st_mtime_ns == made
    content = bytearray((copy / UNET).read_bytes())
    content[-3] ^= 0x40
    (copy / UNET).write_bytes(content)
    assert not same_weights(first, load_unet(find_model(copy), dtype=torch.float16, shared_under=cache))
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_cache_does_not_stop_a_cloud(tiny_sd, tmp_path):
    cache = tmp_path / "cache"
    right = load_unet(tiny_sd, dtype=torch.float16, shared_under=cache)
    (file,) = cache.iterdir()
    right = {name: tensor.clone() for name, tensor in right.state_dict().items()}
    file.write_bytes(file.read_bytes()[:100])
    again = load_unet(tiny_sd, dtype=torch.float16, shared_under=cache)
    assert all(torch.equal(right[name], tensor) for name, tensor in again.state_dict().items())


def test_an_index_without_the_optional_parts_loads(copy):
    edit(copy / "model_index.json", safety_checker=[None, None], feature_extractor=[None, None])
    load_all(copy)
    assert isinstance(find_model(str(copy)), ModelFolder)
