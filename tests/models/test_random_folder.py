"""Random model folders: whole, repeatable, and good enough for stock diffusers."""

import pytest
import torch
from safetensors.torch import load_file

from sfumato.models.loading import load_tokenizer
from sfumato.models.random_folder import write_byte_tokenizer, write_random_model

STOCK = {"tiny-sd": "StableDiffusionPipeline", "tiny-sdxl": "StableDiffusionXLPipeline"}


@pytest.fixture(scope="module", params=STOCK)
def arch(request):
    return request.param


@pytest.fixture(scope="module")
def folder(arch, tmp_path_factory):
    return write_random_model(arch, tmp_path_factory.mktemp(arch) / "model", seed=5)


def test_stock_diffusers_loads_every_weight_and_paints(arch, folder):
    import diffusers

    pipe = getattr(diffusers, STOCK[arch]).from_pretrained(folder.path)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    loaded = pipe.text_encoder.state_dict()
    written = load_file(folder.path / "text_encoder" / "model.safetensors")
    assert len(loaded) == len(written)
    for name, tensor in loaded.items():
        assert torch.equal(tensor, written[f"text_model.{name.removeprefix('text_model.')}"])
    for component in ("unet", "vae"):
        files = load_file(folder.path / component / "diffusion_pytorch_model.safetensors")
        assert all(torch.equal(t, files[n]) for n, t in getattr(pipe, component).state_dict().items())
    seeds = [torch.Generator().manual_seed(0) for _ in range(2)]
    red, blue = (
        pipe(prompt, num_inference_steps=2, generator=seed, output_type="np").images
        for prompt, seed in zip(("a red hat", "a blue hat"), seeds, strict=True)
    )
    assert red.shape == (1, 64, 64, 3)
    assert abs(red - blue).max() > 1e-3  # the prompt matters
    assert 0.05 < red.std() < 0.5  # and the picture is not flat


def test_the_seed_fixes_the_weights(arch, folder, tmp_path):
    again = write_random_model(arch, tmp_path / "again", seed=5)
    other = write_random_model(arch, tmp_path / "other", seed=6)
    assert again.unet_fingerprint == folder.unet_fingerprint
    assert other.unet_fingerprint != folder.unet_fingerprint


def test_half_precision_files(tmp_path):
    model = write_random_model("tiny-sd", tmp_path / "half", dtype="fp16")
    weights = load_file(model.weight_files("unet")[0])
    assert {t.dtype for t in weights.values()} == {torch.float16}


def test_the_tokenizer_knows_every_letter(folder):
    tokenizer = load_tokenizer(folder, "tokenizer")
    ids = tokenizer("Zoë, 3 cats").input_ids
    assert ids[0] == tokenizer.bos_token_id == 998
    assert ids[-1] == tokenizer.eos_token_id == 999
    assert 999 not in ids[1:-1]
    assert tokenizer.decode(ids[1:-1]).replace(" ", "") == "zoë,3cats"


def test_a_vocabulary_without_room_for_bytes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="vocab_size must be at least 514, got 100"):
        write_byte_tokenizer(tmp_path, 100)


def test_wrong_arguments(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="no architecture 'sd9'"):
        write_random_model("sd9", tmp_path / "new")
    with pytest.raises(ValueError, match="is not an empty folder"):
        write_random_model("tiny-sd", tmp_path)
    with pytest.raises(ValueError, match="dtype must be one of fp32, fp16"):
        write_random_model("tiny-sd", tmp_path / "new", dtype="int8")
