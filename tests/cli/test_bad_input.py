"""Whatever is wrong with a command ends with an exit code, one sentence, and nothing written."""

import json
import os
import shutil
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from PIL import Image

from odd_clouds import odd_clouds
from recorded import served
from sfumato.transport.key_files import load_client_keys, load_cloud_keys, make_keys
from sfumato.transport.keys import KeyRing
from sfumato.worker.service import ServiceLimits
from sfumato.worker.sessions import CloudSession, ServedModel

COMPOSED = ["--protocol", "homomorphic", "--set", "denoise_with=strip-split"]
USAGE = {
    "unknown protocol": (["--protocol", "homeopathic"], "no protocol 'homeopathic': choose one of plain, layer-split"),
    "unknown field": (["--set", "halo=2"], "strip-split has no setting 'halo': write FIELD=VALUE with one of num_c"),
    "no value": (["--set", "merge"], "strip-split has no setting"),
    "another protocol's field": (["--protocol", "plain", "--set", "merge=exact"], "plain has no setting 'merge'"),
    "field that is no number": (["--set", "num_clouds=x"], "num_clouds must be a number, got 'x'"),
    "no clouds": (["--set", "num_clouds=0"], "num_clouds must be at least 1, got 0"),
    "numbers that disagree": (
        ["--local-clouds", 2, "--set", "num_clouds=3"],
        "num_clouds is given twice, as 2 and 3: give it once",
    ),
    "denoising settings of nobody": (
        ["--set", "denoise.wire=int8"],
        "denoise.wire=int8 is of a protocol that denoises",
    ),
    "unknown denoising field": ([*COMPOSED, "--set", "denoise.halo=2"], "strip-split has no setting 'halo'"),
    "numbers of both that disagree": (
        [*COMPOSED, "--local-clouds", 4, "--set", "denoise.num_clouds=4"],
        "of 4 clouds the first holds the ciphertexts and 3 denoise, and strip-split is set to 4: make them agree",
    ),
    "no cloud left to denoise": (
        [*COMPOSED, "--local-clouds", 1],
        "needs two clouds or more, the first for the cipher",
    ),
    "plain on two clouds": (["--protocol", "plain", "--local-clouds", 2], "plain has one cloud"),
    "more clouds than rows": (["--local-clouds", 5], "a latent of 16 rows can be cut into at most 4 tiles down, got 5"),
    "many more clouds than rows": (["--local-clouds", 5000], "16 rows can be cut into at most 4 tiles down, got 5000"),
    "unknown scheduler": (["--scheduler", "heun"], "no scheduler 'heun': choose one of ddim, dpm++, euler, lcm"),
    "no steps": (["--steps", 0], "Invalid value for '--steps'"),
    "steps that are no number": (["--steps", "many"], "Invalid value for '--steps'"),
    "odd height": (["--height", 17], "height and width must be positive multiples of 2, got 17 and 32"),
    "negative width": (["--width", -32], "height and width must be positive multiples of 2, got 32 and -32"),
    "negative seed": (["--seed", -1], "Invalid value for '--seed'"),
    "large seed": (["--seed", 2**63], "Invalid value for '--seed'"),
    "huge seed": (["--seed", 10**40], "Invalid value for '--seed'"),
    "no scale": (["--guidance-scale", "nan"], "guidance_scale must be a finite number"),
    "endless scale": (["--guidance-scale", "inf"], "guidance_scale must be a finite number"),
    "no time": (["--timeout", 0], "Invalid value for '--timeout'"),
    "time that is no number": (["--timeout", "nan"], "Invalid value for '--timeout'"),
    "words outside quotes": (["hat", "scarf"], "put a text of several words in quotes"),
    "no pictures": (["--num-images", 0], "Invalid value for '--num-images'"),
    "unknown option": (["--sed", 1], "No such option: --sed"),
    "folder that is not there": (["--out", "/nosuch/x.png"], "the folder /nosuch does not exist; make it first"),
    "not a png": (["--out", "x.jpg"], "--out must name a .png file, got x.jpg"),
    "report into no folder": (["--report", "/nosuch/r.json"], "the folder /nosuch does not exist; make it first"),
    "clouds without keys": (["--clouds", "127.0.0.1:1"], "--clouds needs --keys"),
    "both kinds of clouds": (["--clouds", "127.0.0.1:1", "--local-clouds", 1], "--local-clouds, not both"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage(refused, name):
    arguments, sentence = USAGE[name]
    assert sentence in refused(2, *arguments)


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_a_prompt_that_says_nothing(refused, prompt):
    assert "say what the picture should show" in refused(2, prompt=prompt)


def test_no_cloud_is_started_for_a_number_that_the_picture_cannot_use(refused, local_clouds):
    refused(2, "--local-clouds", 5000)
    assert [clouds.started for clouds in local_clouds] == [False]


def test_outputs_that_would_fall_on_each_other(refused, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("x")
    assert "name two files" in refused(2, "--report", tmp_path / "picture.png")
    assert "name two files" in refused(2, "--report", tmp_path / "picture-2.png", "--num-images", 2)
    assert "is not an empty folder: name a new one" in refused(2, "--record", tmp_path / "taken")
    assert "is not an empty folder: name a new one" in refused(2, "--record", tmp_path / "taken/file")
    (tmp_path / "folder.png").mkdir()
    assert "it is a folder; name a file" in refused(2, "--out", tmp_path / "folder.png")


def test_encryption_without_its_library(refused, monkeypatch):
    from sfumato.crypto.seal import seal_context

    seal_context.cache_clear()
    monkeypatch.setitem(sys.modules, "tenseal", None)
    monkeypatch.setitem(sys.modules, "tenseal.sealapi", None)
    try:
        assert "pip install 'sfumato[he]'" in refused(1, "--protocol", "homomorphic")
    finally:
        seal_context.cache_clear()


def test_a_recording_of_clouds_that_meet(refused, tmp_path):
    sentence = refused(1, "--set", "borders=direct", "--record", tmp_path / "rec")
    assert "record with borders=client" in sentence
    assert not (tmp_path / "rec").exists()
    assert refused(1, *COMPOSED, "--set", "denoise.borders=direct", "--record", tmp_path / "rec") == sentence


def test_a_model_that_is_not_there(refused):
    assert "no model 'nosuch': give a folder" in refused(1, model="nosuch")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "model_index.json").unlink(), "holds no model_index.json"),
        (lambda f: os.truncate(f / "unet/diffusion_pytorch_model.safetensors", 5000), "is damaged"),
        (lambda f: shutil.rmtree(f / "vae"), "vae/config.json is missing"),
    ],
    ids=["no index", "truncated", "no vae"],
)
def test_a_damaged_model(refused, tiny_sd, tmp_path_factory, damage, sentence):
    copy = shutil.copytree(tiny_sd.path, tmp_path_factory.mktemp("copy") / "model")
    damage(copy)
    assert sentence in refused(1, model=copy)


def test_a_long_prompt_is_noted_and_runs(sfumato, tiny_sd, tmp_path, local_clouds):
    out = tmp_path / "x.png"
    prompt = "fisherman " * 500
    arguments = ["--model", tiny_sd.path, "--steps", 1, "--height", 32, "--width", 32, "--out", out, "--seed", 3]
    code, stdout, err = sfumato("generate", prompt, *arguments)
    assert code == 0
    assert " ".join(err.split()).startswith("Note: the prompt is too long for this model's text encoder; its last")
    assert "fisherman" not in stdout + err
    assert pixels(out).shape == (32, 32, 3)


def pixels(file) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def test_pictures_and_report_are_those_of_the_library(sfumato, tiny_sd, tmp_path, local_clouds):
    from recorded import in_process
    from sfumato.protocols.strip_split.spec import StripSplit

    arguments = ["--model", tiny_sd.path, "--steps", 2, "--height", 32, "--width", 32, "--seed", 3, "--num-images", 2]
    files = ["--out", tmp_path / "x.png", "--report", tmp_path / "r.json", "--record", tmp_path / "rec"]
    code, _, err = sfumato("generate", "x", "--set", "num_clouds=2", "--scheduler", "ddim", *arguments, *files)
    assert (code, err.strip()) == (0, "")
    ours = [pixels(tmp_path / f"x-{i}.png") for i in (1, 2)]
    pipe = in_process(tiny_sd, StripSplit(num_clouds=2))
    theirs = pipe("x", num_inference_steps=2, height=32, width=32, seed=3, num_images_per_prompt=2, output_type="np")
    assert np.array_equal(np.stack(ours), theirs.images)
    written = json.loads((tmp_path / "r.json").read_text())
    expected = theirs.report.to_dict()
    for name in ("spec", "seed", "steps", "clouds", "compute", "claim", "not_hidden", "model"):
        assert written[name] == expected[name], name
    assert sorted(f.name for f in (tmp_path / "rec").iterdir()) == [
        "cloud-1.transcript",
        "cloud-2.transcript",
        "meta.json",
    ]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["r.json", "rec", "x-1.png", "x-2.png"]


@pytest.fixture
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deployment") / "keys"
    make_keys(folder, clouds=2)
    return folder


@contextmanager
def remote_clouds(folder, factory, limits=None):
    """Clouds behind sockets of this process, with keys from files, as ``--clouds`` takes them."""
    clouds = tuple(load_cloud_keys(folder / f"cloud-{i}") for i in (1, 2))
    ring = KeyRing(client=load_client_keys(folder, clouds=2), clouds=clouds, authority_key=b"")
    with odd_clouds(2, ring=ring, factory=factory, limits=limits) as (addresses, _):
        yield ",".join(f"127.0.0.1:{address.port}" for address in addresses)


class TestRemoteClouds:
    def serving(self, tiny_sd, spoil=lambda reply, count: reply, fingerprint=None):
        model = ServedModel(unet=served(tiny_sd).unet, fingerprint=fingerprint or tiny_sd.unet_fingerprint)

        class Session:
            def __init__(self):
                self._inner, self._count = CloudSession(model), 0

            @property
            def kinds(self):
                return self._inner.kinds

            def handle(self, request):
                self._count += 1
                return spoil(self._inner.handle(request), self._count)

        return lambda _: Session()

    def test_a_run_on_clouds_that_are_well(self, sfumato, tiny_sd, keys, tmp_path):
        out = tmp_path / "x.png"
        with remote_clouds(keys, self.serving(tiny_sd)) as addresses:
            arguments = ["--clouds", addresses, "--keys", keys, "--model", tiny_sd.path, "--out", out]
            code, _, err = sfumato("generate", "x", *arguments, "--steps", 1, "--height", 32, "--width", 32)
        assert (code, err.strip()) == (0, "")
        assert out.is_file()

    def test_a_cloud_that_serves_another_model(self, refused, tiny_sd, keys):
        with remote_clouds(keys, self.serving(tiny_sd, fingerprint="f" * 64)) as addresses:
            sentence = refused(1, "--clouds", addresses, "--keys", keys)
        assert "it serves another model (fingerprint ffffffffffff, asked for" in sentence

    def test_wrong_token(self, refused, tiny_sd, keys):
        token = keys / "client/cloud-2.token"
        with remote_clouds(keys, self.serving(tiny_sd)) as addresses:
            token.write_text("x" * 43)
            assert "refused our access token" in refused(1, "--clouds", addresses, "--keys", keys)

    def test_another_deployments_keys(self, refused, tiny_sd, keys, tmp_path_factory):
        others = tmp_path_factory.mktemp("other") / "keys"
        make_keys(others, clouds=2)
        with remote_clouds(keys, self.serving(tiny_sd)) as addresses:
            assert "unknown authority" in refused(1, "--clouds", addresses, "--keys", others)

    def test_expired_keys(self, refused, tiny_sd, tmp_path_factory, monkeypatch):
        folder = tmp_path_factory.mktemp("expired") / "keys"
        make_keys(folder, clouds=2, days=0.5)

        class Tomorrow(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz or UTC) + timedelta(days=1)

        monkeypatch.setattr("sfumato.transport.certificates.datetime", Tomorrow)
        assert "expired" in refused(1, "--clouds", "127.0.0.1:1,127.0.0.1:2", "--keys", folder)

    def test_wrong_numbers_of_clouds_and_addresses_that_are_none(self, refused, keys):
        for addresses, code, sentence in (
            ("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", 1, "cloud-3.token"),
            ("127.0.0.1", 2, "127.0.0.1"),
            ("127.0.0.1:1,", 2, "host:port"),
            ("127.0.0.1:99999", 2, "99999"),
        ):
            assert sentence in refused(code, "--clouds", addresses, "--keys", keys)
        assert "given twice" in refused(2, "--clouds", "127.0.0.1:1", "--keys", keys, "--set", "num_clouds=2")
        assert "cannot read" in refused(1, "--clouds", "127.0.0.1:1", "--keys", keys / "nosuch")
        assert "nobody listens" in refused(1, "--clouds", "127.0.0.1:1,127.0.0.1:2", "--keys", keys)

    def test_a_cloud_that_hangs(self, refused, tiny_sd, keys):
        import threading

        released = threading.Event()

        def hang(reply, count):
            if count == 5:
                released.wait(20)
            return reply

        with remote_clouds(keys, self.serving(tiny_sd, hang)) as addresses:
            sentence = refused(1, "--clouds", addresses, "--keys", keys, "--timeout", 0.5)
            released.set()
        assert "did not answer within 0.5 s" in sentence

    def test_a_cloud_that_answers_with_nan(self, refused, tiny_sd, keys):
        def spoil(reply, count):
            if count == 5:
                for value in vars(reply).values():
                    if isinstance(value, torch.Tensor):
                        value.view(-1)[0] = float("nan")
            return reply

        with remote_clouds(keys, self.serving(tiny_sd, spoil)) as addresses:
            assert "numbers that are not finite" in refused(1, "--clouds", addresses, "--keys", keys)

    def test_a_request_larger_than_a_cloud_takes(self, refused, tiny_sd, keys):
        limits = ServiceLimits(max_data_bytes=1000)
        with remote_clouds(keys, self.serving(tiny_sd), limits) as addresses:
            assert "at most 1000 may come" in refused(1, "--clouds", addresses, "--keys", keys)

    def test_a_reply_without_digest_or_cut_off(self, refused, tiny_sd, keys, monkeypatch):
        from sfumato.worker import service

        real = service.encode

        def altered(message):
            header, buffers = real(message)
            return type(real(message))(header[:-1] + bytes([header[-1] ^ 1]), buffers)

        with remote_clouds(keys, self.serving(tiny_sd)) as addresses:
            monkeypatch.setattr(service, "encode", altered)
            assert "altered" in refused(1, "--clouds", addresses, "--keys", keys)

    def test_a_cloud_of_another_wire_version(self, refused, tiny_sd, keys, monkeypatch):
        from sfumato.worker import service

        real = service.encode

        def newer(message):
            header, buffers = real(message)
            return type(real(message))(header[:1] + b"\x02" + header[2:], buffers)

        with remote_clouds(keys, self.serving(tiny_sd)) as addresses:
            monkeypatch.setattr(service, "encode", newer)
            assert "wire version 2" in refused(1, "--clouds", addresses, "--keys", keys)

    def test_no_prompt_and_no_number_in_the_clouds_logs(self, sfumato, tiny_sd, keys, tmp_path, caplog):
        caplog.set_level("DEBUG")
        out = tmp_path / "x.png"
        with remote_clouds(keys, self.serving(tiny_sd)) as addresses:
            arguments = ["--clouds", addresses, "--keys", keys, "--model", tiny_sd.path, "--out", out]
            sfumato("generate", "weatherbeaten", *arguments, "--steps", 1, "--height", 32, "--width", 32)
        assert "session 1 opened" in caplog.text
        assert "weatherbeaten" not in caplog.text
        assert "tensor(" not in caplog.text
