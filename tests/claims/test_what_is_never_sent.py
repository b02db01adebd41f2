"""What no cloud is told, searched for in the recorded bytes; and controls that the search would find it."""

import struct
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from recorded import PROMPT, Run, in_process, record, served, shape_of
from sfumato.models.loading import load_tokenizer
from sfumato.protocols.layer_split.spec import LayerSplit, NormStrip
from sfumato.protocols.plain.spec import Plain
from sfumato.randomness import seeded_generator
from sfumato.wire.messages import Hello
from sfumato.wire.transcript import Direction, TranscriptWriter

SMALL = {"height": 32, "width": 24, "num_inference_steps": 2, "negative_prompt": "a plastic flamingo"}
SECRETS = {"seed": 7_315_902_648, "guidance_scale": 6.283_185_307_179_586}

SPECS = {
    "plain": Plain(),
    "layer-split": LayerSplit(num_clouds=2),
    "text on the client": LayerSplit(num_clouds=2, cross_attention="client"),
    "every layer": LayerSplit(
        num_clouds=2, offload=frozenset({"conv", "pointwise_conv", "self_attention", "cross_attention", "norm"})
    ),
}


@pytest.fixture(scope="module")
def runs(tiny_sd, tmp_path_factory) -> dict[str, Run]:
    root = tmp_path_factory.mktemp("runs")
    return {name: record(tiny_sd, spec, root / name, **SMALL, **SECRETS) for name, spec in SPECS.items()}


def all_tensors(run: Run, cloud: int) -> Iterator[Tensor]:
    for entry in run.sent(cloud):
        yield from (t for t in entry.tensors.values() if t is not None)


def holds_whole(run: Run, cloud: int, wanted: Tensor) -> bool:
    """Whether some tensor that the cloud was sent is, or contains, this one."""
    return any(t.shape == wanted.shape and torch.equal(t, wanted) for t in all_tensors(run, cloud))


def traces(content: bytes, token_ids: list[int]) -> list[str]:
    """Which of the client's secrets stand in these bytes, in any of the ways that a program would write them."""
    words = [w for text in (PROMPT, SMALL["negative_prompt"]) for w in text.split() if len(w) > 4]
    seed, scale = SECRETS["seed"], SECRETS["guidance_scale"]
    ways = {
        "prompt": [w.encode(code) for w in words for code in ("utf-8", "utf-16-le", "utf-32-le")],
        "tokens": [struct.pack(f"{order}{len(token_ids)}{size}", *token_ids) for order in "<>" for size in "hiqf"],
        "seed": [str(seed).encode(), struct.pack("<q", seed), struct.pack(">q", seed), struct.pack("<d", float(seed))],
        "guidance scale": [str(scale)[:8].encode(), struct.pack("<d", scale), struct.pack(">d", scale)],
    }
    return [name for name, patterns in ways.items() if any(p in content for p in patterns)]


@pytest.fixture(scope="module")
def token_ids(tiny_sd) -> list[int]:
    return load_tokenizer(tiny_sd, "tokenizer")(PROMPT).input_ids[:6]


@pytest.mark.parametrize("name", SPECS)
def test_neither_prompt_nor_tokens_nor_seed_nor_scale_is_in_the_bytes(runs, token_ids, name):
    for file in runs[name].folder.iterdir():
        assert traces(file.read_bytes(), token_ids) == []


def test_the_search_finds_each_secret_where_it_is_written(tmp_path, token_ids):
    hello = Hello(
        package_version="",
        protocol=PROMPT,
        spec_json=str(SECRETS["guidance_scale"]),
        model_fingerprint="",
        cloud_index=0,
        num_clouds=SECRETS["seed"],
    )
    writer = TranscriptWriter(tmp_path / "leaky")
    writer.write(Direction.TO_CLOUD, 0.0, hello)
    writer.close()
    assert traces((tmp_path / "leaky").read_bytes(), token_ids) == ["prompt", "seed", "guidance scale"]
    as_tensor = torch.tensor(token_ids, dtype=torch.float32).view(1, 1, 1, -1)
    writer = TranscriptWriter(tmp_path / "leakier")
    writer.write(Direction.TO_CLOUD, 0.0, NormStrip(path="", rows=as_tensor))
    writer.close()
    assert traces((tmp_path / "leakier").read_bytes(), token_ids) == ["tokens"]


@pytest.mark.parametrize("name", SPECS)
def test_what_a_message_looks_like_depends_on_neither_prompt_seed_nor_scale(runs, tiny_sd, tmp_path, name):
    other = SMALL | {"negative_prompt": None, "seed": 0, "guidance_scale": 1.5}
    second = record(tiny_sd, SPECS[name], tmp_path / "other", prompt="x", **other)
    for cloud, transcript in runs[name].recording.transcripts.items():
        theirs = second.recording.transcripts[cloud]
        assert [shape_of(e) for e in transcript.entries] == [shape_of(e) for e in theirs.entries]


def test_plain_gives_its_cloud_the_whole_latent_and_layer_split_gives_it_to_none(runs):
    for name, run in runs.items():
        noise = torch.randn(run.latents[0].shape, generator=seeded_generator(SECRETS["seed"]))
        between = run.latents[0]
        for cloud in range(run.spec.num_clouds):
            seen = [holds_whole(run, cloud, x) or holds_whole(run, cloud, torch.cat([x, x])) for x in (noise, between)]
            assert seen == [name == "plain"] * 2, name


def rows_of_the_latent(run: Run, cloud: int) -> int:
    """How many rows of the second step's latent stand, whole, in anything that a cloud was sent."""
    rows = run.latents[0].unbind(dim=2)
    maps = [t for t in all_tensors(run, cloud) if t.ndim == 4 and t.shape[1] == 4]
    return sum(any(torch.equal(row, seen[:1, :, i]) for seen in maps for i in range(seen.shape[2])) for row in rows)


def test_a_cloud_of_layer_split_holds_its_rows_of_the_latent_and_one_of_halo(runs):
    assert rows_of_the_latent(runs["plain"], 0) == 16
    for name in ("layer-split", "text on the client", "every layer"):
        assert [rows_of_the_latent(runs[name], cloud) for cloud in (0, 1)] == [9, 9]


def embedding(model, prompt: str) -> Tensor:
    pipe = in_process(model, Plain())
    encoded = pipe._prompts.encode([prompt], None, guided=False, num_images_per_prompt=1, height=32, width=24)
    return encoded.prompt_embeds[0]


def recovered_embedding(run: Run, cloud: int, unet) -> Tensor | None:
    """The text embedding, from K and V of the text and the public weights; what the spec says is not hidden."""
    keys, weights = [], []
    for entry in run.sent(cloud):
        if entry.kind == "CrossAttentionStrip":
            layer = unet.get_submodule(entry.values["path"])
            keys += [entry.tensors["key"][-1], entry.tensors["value"][-1]]
            weights += [layer.to_k.weight, layer.to_v.weight]
    return torch.linalg.lstsq(torch.cat(weights), torch.cat(keys, dim=1).T).solution.T if keys else None


def test_keys_and_values_give_the_text_away_as_the_spec_says(runs, tiny_sd):
    truth, decoy = embedding(tiny_sd, PROMPT), embedding(tiny_sd, "a weatherbeaten carpenter")
    for name in ("layer-split", "every layer"):
        found = recovered_embedding(runs[name], 1, served(tiny_sd).unet)
        assert (found - truth).norm() < 0.01 * (found - decoy).norm()
        assert any("K and V of the text" in sentence for sentence in SPECS[name].not_hidden)


def test_with_cross_attention_on_the_client_nothing_of_the_text_is_sent(runs, tiny_sd):
    run = runs["text on the client"]
    num_tokens = embedding(tiny_sd, PROMPT).shape[0]
    for cloud in range(run.spec.num_clouds):
        assert recovered_embedding(run, cloud, served(tiny_sd).unet) is None
        assert {e.kind for e in run.sent(cloud)} == {"Hello", "ConvStrip", "NormStrip"}
        assert not any(t.ndim == 3 or num_tokens in t.shape for t in all_tensors(run, cloud))
    assert not any("K and V of the text" in sentence for sentence in run.spec.not_hidden)


def test_a_cloud_can_try_seeds_against_its_rows_as_the_spec_says(runs):
    """Why a seed must not be shared, and why the spec says so."""
    run = runs["layer-split"]
    (strip,) = (e.tensors["rows"] for e in run.sent(0)[:2] if e.kind == "ConvStrip")

    def fits(seed: int) -> bool:
        noise = torch.randn(run.latents[0].shape, generator=seeded_generator(seed))
        return torch.equal(noise[:, :, : strip.shape[2]], strip[:1])

    assert [s for s in range(SECRETS["seed"] - 20, SECRETS["seed"] + 20) if fits(s)] == [SECRETS["seed"]]
    assert any("seed" in sentence for sentence in run.spec.not_hidden_with_seed)


def test_without_a_seed_the_noise_is_no_generators_and_never_the_same(tiny_sd):
    pipe = in_process(tiny_sd, LayerSplit(num_clouds=2))
    state = torch.get_rng_state()
    latents = []
    for _ in range(2):
        torch.set_rng_state(state)
        output = pipe("x", num_inference_steps=1, output_type="latent")
        assert output.report.seed is None
        assert not any("seed" in sentence for sentence in output.report.not_hidden)
        latents.append(output.images)
    assert not torch.equal(*latents)
    assert any("seed" in sentence for sentence in pipe("x", num_inference_steps=1, seed=1).report.not_hidden)
