from dataclasses import replace
from pathlib import Path

import pytest

from experiments.conftest import write_csv
from sfumato.experiments.folder import claim_folder
from sfumato.experiments.grid import Sweep, shard, unfinished
from sfumato.experiments.ppidm_fidelity.study import StudySettings, native_size, ppidm_fidelity
from sfumato.experiments.prompts import read_prompt_set
from sfumato.models.folder import ModelFolder, find_architecture


def cases(batches) -> list[str]:
    return [case for batch in batches for case in batch.cases]


def test_every_case_is_computed_once(small_sweep: Sweep) -> None:
    found = cases(small_sweep.batches())
    # Five prompts: unsplit, split, and split with two steps; the ablation's unsplit ones are there already.
    assert len(found) == len(set(found)) == 15


def test_batches_do_not_depend_on_what_is_finished(small_sweep: Sweep) -> None:
    batches = small_sweep.batches()
    done = set(batches[0].cases) | {batches[1].cases[0]}
    left = [rest for b in batches if (rest := unfinished(b, done))]
    assert left[1:] == batches[2:]
    assert left[0].cases == batches[1].cases[1:]


def test_a_larger_limit_goes_on_where_a_smaller_one_ended(small_sweep: Sweep) -> None:
    few, all_of_them = cases(small_sweep.batches(limit=3)), cases(small_sweep.batches())
    assert set(few) < set(all_of_them)
    assert len(few) == 9
    assert len(cases(small_sweep.batches(limit=3, ablation_limit=0))) == 6
    assert len(cases(small_sweep.batches(ablation_limit=1))) == 11


@pytest.mark.parametrize("total", [1, 2, 3])
def test_shards_are_the_whole_and_keep_pairs_together(small_sweep: Sweep, total: int) -> None:
    batches = small_sweep.batches()
    parts = [shard(batches, i + 1, total) for i in range(total)]
    assert sorted(cases(b for part in parts for b in part)) == sorted(cases(batches))
    for part in parts:
        have = set(cases(part))
        for batch in part:
            twins = (batch.condition.unsplit.case(batch.prompt_set, p) for p in batch.prompts)
            # The ablation of two steps has no unsplit twin in this sweep; every other pair must be whole.
            assert batch.condition.num_inference_steps == 2 or have.issuperset(twins)


def test_a_case_is_named_by_all_that_makes_the_picture(small_sweep: Sweep) -> None:
    condition, prompt = small_sweep.blocks[0].conditions[1], small_sweep.prompt_sets[0].prompts[0]
    name = condition.case("some", prompt)
    others = [
        condition.unsplit.case("some", prompt),
        condition.case("other", prompt),
        condition.case("some", replace(prompt, seed=prompt.seed + 1)),
        condition.case("some", replace(prompt, text="b")),
        *(
            replace(condition, **{field: value}).case("some", prompt)
            for field, value in {
                "model_fingerprint": "f" * 64,
                "num_inference_steps": 9,
                "height": 64,
                "width": 64,
                "guidance_scale": 1.0,
                "scheduler": "euler",
            }.items()
        ),
    ]
    assert len({name, *others}) == len(others) + 1
    assert replace(condition, model="/elsewhere").case("some", prompt) == name


def test_the_papers_grid(tmp_path: Path) -> None:
    """Table IV: 2 sets x (1 + 3 n x 2 merges); V: 8 combinations of layers; VI: 5 steps; VII: 4 sizes."""
    sets = [read_prompt_set(name, [write_csv(tmp_path / f"{name}.csv", 1, name)]) for name in ("art", "coco")]
    model = find_architecture("sd15")
    fingerprinted = _with_fingerprint(model)
    batches = ppidm_fidelity([fingerprinted], sets, StudySettings()).batches()
    found = [b.condition for b in batches]
    assert sum(b.prompt_set == "coco" for b in batches) == 7
    assert {c.num_inference_steps for c in found} == {30, 40, 50, 60, 70}
    assert {(c.height, c.width) for c in found} == {(256, 256), (512, 512), (768, 768), (1024, 1024)}
    # Art: 7 of Table IV; V adds seven (all three kinds with the paper's merge is there); VI and VII add four settings
    # and three, each unsplit and with both merges.
    assert sum(b.prompt_set == "art" for b in batches) == 7 + 7 + 3 * 4 + 3 * 3


def _with_fingerprint(model: ModelFolder) -> ModelFolder:
    model.__dict__["unet_fingerprint"] = "0" * 64
    return model


@pytest.mark.parametrize(("name", "size"), [("sd15", (512, 512, 8)), ("sdxl", (1024, 1024, 8))])
def test_native_size(name: str, size: tuple[int, int, int]) -> None:
    assert native_size(find_architecture(name)) == size


def test_more_clouds_than_rows_are_refused_before_anything_starts(tmp_path: Path, tiny_sd: ModelFolder) -> None:
    prompts = read_prompt_set("art", [write_csv(tmp_path / "a.csv", 1)])
    with pytest.raises(ValueError, match="num_clouds must be at most"):
        ppidm_fidelity([tiny_sd], [prompts], StudySettings(num_clouds=(999,)))


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        StudySettings(num_clouds=(0,))
    with pytest.raises(ValueError, match="at least one number of clouds"):
        StudySettings(merges=())


def test_a_folder_belongs_to_one_sweep(tmp_path: Path, small_sweep: Sweep) -> None:
    out = tmp_path / "out"
    claim_folder(out, small_sweep)
    claim_folder(out, small_sweep)
    with pytest.raises(ValueError, match="holds another sweep, with other batch size"):
        claim_folder(out, replace(small_sweep, batch_size=3))
    with pytest.raises(ValueError, match="with other blocks: name a new folder"):
        claim_folder(out, replace(small_sweep, blocks=small_sweep.blocks[:1]))
    (out / "sweep.json").write_text("{")
    with pytest.raises(ValueError, match=r"sweep.json cannot be read"):
        claim_folder(out, small_sweep)


def test_a_folder_of_other_files_is_not_taken(tmp_path: Path, small_sweep: Sweep) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds other files and no sweep"):
        claim_folder(tmp_path, small_sweep)
