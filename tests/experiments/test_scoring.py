import io
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from rich.console import Console

from experiments.test_rows import row
from experiments.test_running import ThisProcess
from sfumato.errors import Unsupported
from sfumato.experiments import networks
from sfumato.experiments.metric_names import BUNDLED, PUBLISHED
from sfumato.experiments.networks import PublishedNetworks, load_networks
from sfumato.experiments.rows import PictureRow, RowStore, as_png, from_png
from sfumato.experiments.scoring import scored
from sfumato.metrics.pictures import psnr, ssim
from sfumato.portraits import caption, draw_attributes, paint


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three painted pictures, each split twice: once without loss and once with noise; one twin is missing."""
    out = tmp_path_factory.mktemp("study")
    generator = np.random.default_rng(5)
    people = [draw_attributes(generator) for _ in range(3)]
    pictures = [paint(person, generator) for person in people]
    captions = [caption(person, generator) for person in people]
    noise = generator.normal(0, 20, (3, *pictures[0].shape))
    noisy = [np.clip(p + n, 0, 255).astype(np.uint8) for p, n in zip(pictures, noise, strict=True)]
    size = {"height": 128, "width": 128, "prompt_set": "some", "num_inference_steps": 1}
    rows = []
    for i, (picture, text) in enumerate(zip(pictures, captions, strict=True)):
        own = size | {"prompt": text, "prompt_index": i}
        rows.append(row(f"plain{i}", picture=as_png(picture), reference=None, spec="p", **own))
        rows.append(row(f"same{i}", picture=as_png(picture), reference=f"plain{i}", spec="s", **own))
        rows.append(row(f"noisy{i}", picture=as_png(noisy[i]), reference=f"plain{i}", spec="n", **own))
    rows.append(row("alone", picture=as_png(noisy[0]), reference="gone", spec="n", **size))
    RowStore(out / "rows", PictureRow).add(rows)
    return out


def test_scores_say_what_the_metrics_say(study: Path) -> None:
    found = scored(study, "bundled", ThisProcess(), Console(file=io.StringIO()))
    assert sorted(found["case"]) == sorted(f"{kind}{i}" for kind in ("plain", "same", "noisy") for i in range(3))
    by_case = {r["case"]: r for r in found.iter_rows(named=True)}
    assert by_case["plain0"]["psnr"] is None
    assert (by_case["same1"]["psnr"], by_case["same1"]["ssim"]) == (float("inf"), 1.0)
    assert by_case["same1"]["perceptual_distance"] == 0
    stored = {r["case"]: r["picture"] for r in RowStore(study / "rows", PictureRow).read().iter_rows(named=True)}
    pair = [from_png(stored[case])[None] for case in ("noisy2", "plain2")]
    assert by_case["noisy2"]["psnr"] == pytest.approx(psnr(*pair)[0])
    assert by_case["noisy2"]["ssim"] == pytest.approx(ssim(*pair)[0])
    assert by_case["noisy2"]["perceptual_distance"] > 0.01
    assert by_case["plain0"]["clip_score"] > 20
    assert len(by_case["plain0"]["features"]) == 160
    assert sum(by_case["plain0"]["class_probabilities"]) == pytest.approx(1, abs=1e-3)


def test_nothing_is_scored_twice(study: Path) -> None:
    again = ThisProcess()
    first = scored(study, "bundled", ThisProcess(), Console(file=io.StringIO()))
    assert scored(study, "bundled", again, Console(file=io.StringIO())).equals(first)
    assert again.num_batches == 0


def test_scores_of_other_networks_are_kept_apart(study: Path) -> None:
    scored(study, "bundled", ThisProcess(), Console(file=io.StringIO()))
    (folder,) = (study / "scores").iterdir()
    assert folder.name == load_networks("bundled").identity
    assert folder.name.startswith("portraits-clip-")


def test_published_networks_that_are_not_there_are_refused_and_auto_takes_the_bundled(monkeypatch) -> None:
    monkeypatch.setattr(networks, "missing_packages", lambda: ["torchvision"])
    load_networks.cache_clear()
    with pytest.raises(Unsupported, match=r"need torchvision, .* pip install 'sfumato\[metrics\]', or take --networks"):
        load_networks("published")
    assert load_networks("auto").names is BUNDLED


def test_a_package_that_breaks_on_import_counts_as_missing(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (tmp_path / "torch_fidelity.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("torchvision", "torch_fidelity"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert networks.missing_packages() == ["torchvision"]


class _Inception(torch.nn.Module):
    def __init__(self, name: str, features_list: list[str]):
        super().__init__()
        assert (name, features_list) == ("inception-v3-compat", ["2048", "logits_unbiased"])

    def _torch_fidelity_forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert pictures.dtype == torch.uint8
        assert pictures.shape[1] == 3
        mean = pictures.float().mean((1, 2, 3))[:, None]
        return mean.repeat(1, 2048)[:, :, None, None], mean.repeat(1, 1008)


def test_published_networks_are_fed_as_torchmetrics_wants(monkeypatch) -> None:
    """The networks themselves cannot be installed everywhere: stand-ins check shapes, ranges and types."""

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        assert a.shape[1] == 3
        assert 0 <= a.min() <= a.max() <= 1
        return (a - b).abs().mean()

    fid, lpip = ModuleType("fid"), ModuleType("lpip")
    fid.NoTrainInceptionV3 = _Inception
    lpip.LearnedPerceptualImagePatchSimilarity = lambda **_: distance
    monkeypatch.setattr(networks, "missing_packages", list)
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", fid)
    monkeypatch.setitem(sys.modules, "torchmetrics.image.lpip", lpip)
    published = PublishedNetworks()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    assert published.names is PUBLISHED
    assert published.perceptual(pictures, pictures).tolist() == [0, 0, 0]
    assert published.features(pictures).shape == (3, 2048)
    assert published.class_probabilities(pictures).sum(1) == pytest.approx([1, 1, 1], abs=1e-4)
