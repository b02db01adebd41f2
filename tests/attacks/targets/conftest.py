"""Small networks of every family, with random weights."""

import pytest

from sfumato.attacks.targets import load_target
from sfumato.attacks.targets.random_target import write_random_target

FAMILIES = ("tiny-resnet-18", "tiny-resnet-50", "tiny-vit", "tiny-clip", "tiny-detr", "tiny-rt-detr")


@pytest.fixture(scope="session")
def target_folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("targets")
    return {name: write_random_target(name, root / name, seed=1) for name in FAMILIES}


@pytest.fixture(scope="session")
def targets(target_folders):
    return {name: load_target(folder) for name, folder in target_folders.items()}
