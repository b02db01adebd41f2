"""What a black box is asked about."""

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.attacks.inversion.query_pictures import query_pictures


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for place in range(4):
        Image.fromarray(generator.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / f"{place}.png")
    return tmp_path


def test_paintings_repeat_and_do_not_depend_on_how_they_are_asked_for():
    painted = query_pictures("painted", num_frames=1, seed=0)
    whole = painted.pictures(0, 5, (32, 32))
    assert whole.shape == (5, 3, 32, 32)
    assert whole.dtype == torch.uint8
    assert torch.equal(whole[3:], painted.pictures(3, 5, (32, 32)))
    assert len({tuple(picture.flatten().tolist()) for picture in whole}) == 5
    assert not torch.equal(whole, query_pictures("painted", num_frames=1, seed=1).pictures(0, 5, (32, 32)))
    assert painted.pictures(0, 1, (32, 16)).shape == (1, 3, 32, 16)
    assert len(set(painted.texts(0, 3))) == 3


def test_painted_clips_have_words_for_each_frame_and_start_anywhere():
    painted = query_pictures("painted", num_frames=2, seed=0)
    whole = painted.pictures(0, 4, (32, 32))
    assert torch.equal(whole[1:3], painted.pictures(1, 3, (32, 32)))
    one, two, three, _ = whole.float()
    assert (one - two).abs().mean() < (one - three).abs().mean() / 2
    texts = painted.texts(0, 4)
    assert texts[0] == texts[1] != texts[2] == texts[3]


def test_a_folder_is_read_in_order_at_one_size_whatever_the_mode(folder):
    Image.new("L", (9, 9), 128).save(folder / "4.png")
    (folder / "notes.md").write_text("no picture")
    source = query_pictures(str(folder), num_frames=1, seed=0)
    source.check(5, worded=False)
    assert source.pictures(0, 5, (16, 16)).shape == (5, 3, 16, 16)
    assert source.pictures(4, 5, (16, 16)).unique().tolist() == [128]


def test_another_folder_has_another_identity(folder):
    def identity():
        return query_pictures(str(folder), num_frames=1, seed=0).identity

    before = identity()
    assert identity() == before
    Image.new("RGB", (9, 9)).save(folder / "0.png")
    assert identity() != before


def test_words_come_from_files_beside_the_pictures(folder):
    source = query_pictures(str(folder), num_frames=1, seed=0)
    for place in range(3):
        (folder / f"{place}.txt").write_text(f"picture {place}\n")
    source.check(3, worded=True)
    assert source.texts(1, 3) == ["picture 1", "picture 2"]
    with pytest.raises(ValueError, match=r"1 pictures in .* have no words, the first is 3.png: put a text file"):
        source.check(4, worded=True)


def test_folders_that_cannot_be_are_refused(folder):
    with pytest.raises(ValueError, match="questions must be 'painted' or a folder of pictures, got"):
        query_pictures(str(folder / "absent"), num_frames=1, seed=0).check(1, worded=False)
    with pytest.raises(ValueError, match="has 4 pictures and 9 are to be asked about: lower queries"):
        query_pictures(str(folder), num_frames=1, seed=0).check(9, worded=False)
    (folder / "1.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"cannot read .*1.png: it is no picture, or a damaged one; take it out"):
        query_pictures(str(folder), num_frames=1, seed=0).pictures(0, 3, (16, 16))
