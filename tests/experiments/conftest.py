from dataclasses import replace
from pathlib import Path

import pytest

from sfumato.experiments.grid import Block, Sweep, condition
from sfumato.experiments.prompts import PromptSet, read_prompt_set
from sfumato.models.folder import ModelFolder
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain


def write_csv(path: Path, num_prompts: int, word: str = "a man") -> Path:
    rows = [f'{i},"{word}, number {i}",{100 + i}' for i in range(num_prompts)]
    path.write_text("\n".join(["case_number,prompt,evaluation_seed", *rows]) + "\n")
    return path


@pytest.fixture(scope="session")
def prompt_set(tmp_path_factory: pytest.TempPathFactory) -> PromptSet:
    return read_prompt_set("some", [write_csv(tmp_path_factory.mktemp("prompts") / "prompts.csv", 5)])


@pytest.fixture(scope="session")
def small_sweep(tiny_sd: ModelFolder, prompt_set: PromptSet) -> Sweep:
    """Five prompts, unsplit and over two clouds: one step of a tiny model, batches of two."""
    specs = [Plain(), LayerSplit(num_clouds=2, merge="paper")]
    made = tuple(
        condition(str(tiny_sd.path), tiny_sd.unet_fingerprint, spec, steps=1, height=32, width=32) for spec in specs
    )
    return Sweep(
        experiment="test",
        prompt_sets=(prompt_set,),
        blocks=(
            Block(prompt_set="some", conditions=made),
            Block(prompt_set="some", conditions=(made[0], replace(made[1], num_inference_steps=2)), is_ablation=True),
        ),
        batch_size=2,
    )
