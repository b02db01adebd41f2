"""A cloud of strip-split is given exactly what the spec says, shown on the bytes that were recorded."""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from passes import random_inputs, split_pass, unsplit_pass
from recorded import served, shape_of
from sfumato.protocols.strip_split.attending import Attention
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.transport.recording import Recording
from sfumato.wire.transcript import Direction, Entry

CASES = {
    "strips": (StripSplit(num_clouds=3, num_columns=1, wire="fp32"), {"size": (16, 9)}),
    "strips that ask at every place": (
        StripSplit(num_clouds=3, num_columns=1, stem="clouds", sampler_borders="asked", wire="fp32"),
        {"size": (16, 9)},
    ),
    "quadrants of odd sizes": (StripSplit(num_clouds=4, num_columns=2, wire="fp32"), {"size": (15, 13)}),
    "halves apart": (
        StripSplit(num_clouds=4, num_columns=1, cfg_clouds="separate", wire="fp32"),
        {"size": (12, 8), "num_latents": 2},
    ),
    "products, halves apart": (
        StripSplit(num_clouds=4, num_columns=1, attention="qkv", cfg_clouds="separate", wire="fp32"),
        {"size": (12, 8), "num_latents": 2},
    ),
    "text at the clouds": (
        StripSplit(num_clouds=2, num_columns=1, attention="hidden", cross_attention="cloud", wire="fp32"),
        {"size": (9, 8), "guided": False},
    ),
}
FIRST_BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"


@dataclass
class Answer:
    """What a cloud was told at one place, with the beginning of the step or on its own."""

    kind: str
    path: str
    statistics: Tensor | None
    cells: Tensor
    around: Tensor | None


@dataclass
class Pass:
    spec: StripSplit
    latent: Tensor
    entries: list[list[Entry]]
    """Of each cloud."""

    def sent(self, cloud: int) -> list[Entry]:
        """What one cloud was sent after the handshake, in order."""
        return [e for e in self.entries[cloud] if e.direction is Direction.TO_CLOUD][1:]

    def answers(self, cloud: int) -> list[Answer]:
        """What one cloud was told at every place, in order."""
        begin, *rest = self.sent(cloud)
        return self._first(cloud, begin.tensors) + [
            Answer(e.kind, e.values["path"], e.tensors["statistics"], e.tensors["values"], e.tensors.get("around"))
            for e in rest
        ]

    def _first(self, cloud: int, told: dict[str, Tensor | None]) -> list[Answer]:
        """The first answers, taken apart as the document says: 32 channels in 8 groups, for one guidance half."""
        if not self.spec.stem_is_client:
            return []
        size = tuple(self.latent.shape[2:])
        own = own_cells(self, cloud, size)
        num_own, num_around, rows = int(own.sum()), int((line_around(own)).sum()), len(self.latent)
        after = rows * (2 if self.spec.num_halves == 1 else 1)
        sizes = [
            (rows, 32, num_around),
            (rows, 32, num_around),
            (after, 32, num_own + num_around),
            (rows, 32, num_around),
        ]
        one, two, delta, around = take_apart(told["values"], sizes)
        statistics = take_apart(told["statistics"], [(2, rows, 8)] * 3)
        resnet = "down_blocks.0.resnets.0"
        return [
            Answer("Surroundings", f"{resnet}.conv1", statistics[0], one, None),
            Answer("Surroundings", f"{resnet}.conv2", statistics[1], two, None),
            Answer("Attended", FIRST_BLOCK, statistics[2], delta, around),
        ]


def take_apart(flat: Tensor, sizes: list[tuple[int, int, int]]) -> list[Tensor]:
    assert len(flat) == sum(prod(size) for size in sizes)
    return [part.view(size) for part, size in zip(flat.split([prod(s) for s in sizes]), sizes, strict=True)]


def recorded_pass(folder, spec, latent, text, to: Path) -> Pass:
    split_pass(folder, spec, latent, text, recorded_to=to)
    transcripts = Recording.read(to).transcripts
    return Pass(spec, latent, [transcripts[f"cloud-{i + 1}"].entries for i in range(spec.num_clouds)])


@pytest.fixture(scope="module", params=CASES)
def case(request, tiny_sd, tmp_path_factory) -> tuple[Pass, dict[str, Tensor]]:
    """A recorded pass, and the maps of the unsplit one."""
    spec, arguments = CASES[request.param]
    latent, text = random_inputs(tiny_sd, **arguments)
    run = recorded_pass(tiny_sd, spec, latent, text, tmp_path_factory.mktemp("run") / "recording")
    return run, true_maps(tiny_sd, latent, text)


def true_maps(folder, latent, text) -> dict[str, Tensor]:
    """What the unsplit U-Net has where tiles meet: maps before a convolution, or before the norm in front of it."""
    maps: dict[str, Tensor] = {}
    hooks = []

    def keep(module, name: str) -> None:
        hooks.append(module.register_forward_pre_hook(lambda _, args: maps.update({name: args[0].clone()})))

    for path, module in served(folder).unet.named_modules():
        if ".resnets." in path and path.endswith(("norm1", "norm2")):
            keep(module, path.replace(".norm", ".conv"))
        elif path.endswith("samplers.0"):
            keep(module, path)
        elif path == "conv_norm_out":
            keep(module, "conv_out")
        elif ".attentions." in path and path.endswith(".norm"):
            keep(module, path)
            keep(module, path.removesuffix("norm") + "transformer_blocks.0")
    try:
        unsplit_pass(folder, latent, text)
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def spans(length: int, num: int, size: int) -> list[tuple[int, int]]:
    """Where tiles begin and end in a map of ``size`` lines, from the document: even cuts, halved upwards."""
    cuts = [int(i * length / num + 0.5) for i in range(num + 1)]
    while length > size:
        length, cuts = -(-length // 2), [-(-c // 2) for c in cuts]
    assert length == size
    return list(pairwise(cuts))


def own_cells(run: Pass, cloud: int, size: tuple[int, int]) -> Tensor:
    """True at the cells of one cloud's tile in a map of ``size``."""
    spec, (height, width) = run.spec, run.latent.shape[2:]
    row, column = divmod(cloud % spec.num_tiles, spec.num_columns)
    mask = torch.zeros(size, dtype=torch.bool)
    rows = slice(*spans(height, spec.num_tiles // spec.num_columns, size[0])[row])
    mask[rows, slice(*spans(width, spec.num_columns, size[1])[column])] = True
    return mask


def line_around(own: Tensor) -> Tensor:
    """The cells that touch a tile, corners included."""
    return (F.max_pool2d(own[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0) & ~own


def needed_cells(run: Pass, cloud: int, path: str, size: tuple[int, int]) -> Tensor:
    """Cells that a cloud's part of the next convolution's output depends on, found by gradients that are not zero."""
    features = torch.ones(1, 1, *size, requires_grad=True)
    hidden, stride = features, 1
    if "downsamplers" in path:
        stride = 2
    elif "upsamplers" in path:
        sizes = [tuple(run.latent.shape[2:])]
        while sizes[-1] != size:
            sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
        hidden = F.interpolate(features, size=sizes[-2], mode="nearest")
    output = F.conv2d(hidden, torch.ones(1, 1, 3, 3), stride=stride, padding=1)[0, 0]
    (gradient,) = torch.autograd.grad(output[own_cells(run, cloud, tuple(output.shape))].sum(), features)
    return gradient[0, 0] != 0


def rows_of(run: Pass, cloud: int, whole: Tensor) -> Tensor:
    """The part of the batch that a cloud computes."""
    if run.spec.num_halves == 1:
        return whole
    return whole.chunk(2)[cloud // run.spec.num_tiles]


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def one_half(whole: Tensor, like: Tensor) -> Tensor:
    """A map's first guidance half where only one was sent; the other must be the same."""
    if len(like) == len(whole):
        return whole
    first, second = whole.chunk(2)
    assert_close(first, second)
    return first


def test_a_latent_comes_with_the_border_that_the_first_convolution_reads(case):
    run, _ = case
    for cloud in range(run.spec.num_clouds):
        first = run.sent(cloud)[0]
        assert first.kind == "Begin"
        needed = needed_cells(run, cloud, "conv_in", tuple(run.latent.shape[2:]))
        assert torch.equal(first.tensors["latent"].flatten(2), run.latent[:, :, needed])
        told = {name for name, tensor in first.tensors.items() if tensor is not None}
        due = {"prompt_embeds"} if run.spec.cross_attention == "cloud" else set()
        assert told == {"latent"} | due | ({"statistics", "values"} if run.spec.stem_is_client else set())


def test_surroundings_are_the_line_of_cells_around_the_tile_and_no_others(case):
    run, maps = case
    for cloud in range(run.spec.num_clouds):
        kept: list[Tensor] = []
        found = [a for a in run.answers(cloud) if a.kind == "Surroundings"]
        for answer in found:
            if answer.path.endswith(".norm"):
                assert answer.cells.shape[2] == 0
                continue
            whole = one_half(rows_of(run, cloud, maps[answer.path]), answer.cells)
            size = tuple(whole.shape[2:])
            own = own_cells(run, cloud, size)
            ring, needed = line_around(own), needed_cells(run, cloud, answer.path, size)
            assert not (needed & ~own & ~ring).any(), "the line is enough"
            assert answer.cells.shape[1] == whole.shape[1] or ".conv1" in answer.path
            assert_close(answer.cells, whole[:, : answer.cells.shape[1], ring])
            kept.append(answer.cells)
        ahead = sum(answer.around is not None for answer in run.answers(cloud))
        num_borders = sum(not a.path.endswith(".norm") for a in found)
        assert num_borders + ahead == 27, "two a residual block, one a sampler, and the last"
        assert bool(ahead) == (run.spec.attention == "fused" and run.spec.sampler_borders == "ahead")


def test_what_was_around_a_skip_connection_is_not_sent_again(case):
    run, maps = case
    answers = {a.path: a for a in run.answers(0)}
    for i, path in enumerate(p for p in answers if p.startswith("up_blocks") and p.endswith(".conv1")):
        skipped = maps[path].shape[1] - answers[path].cells.shape[1]
        assert skipped == served_skips(maps)[::-1][i], path


def served_skips(maps: dict[str, Tensor]) -> list[int]:
    """Channels of every skip connection, on the way down: the inputs of what comes next."""
    down = [path for path in maps if path.startswith("down_blocks") and path.endswith((".conv1", "samplers.0"))]
    return [maps[path].shape[1] for path in down] + [maps["mid_block.resnets.0.conv1"].shape[1]]


def test_statistics_are_two_numbers_a_group_of_the_whole_map(case):
    run, maps = case
    for cloud in range(run.spec.num_clouds):
        for answer in run.answers(cloud):
            if answer.statistics is None:
                continue
            whole = one_half(rows_of(run, cloud, maps[answer.path]), answer.statistics[0])
            grouped = whole.unflatten(1, (8, -1)).flatten(2)
            assert_close(answer.statistics[0], grouped.mean(-1))
            assert_close(answer.statistics[1], grouped.var(-1, correction=0))


def test_attention_answers_at_the_tiles_own_cells_and_before_a_sampler_at_the_line_around(case):
    run, maps = case
    for cloud in range(run.spec.num_clouds):
        attended = [a for a in run.answers(cloud) if a.kind == "Attended"]
        assert attended
        for answer in attended:
            name = answer.path if answer.path in maps else answer.path.rsplit(".", 1)[0]
            whole = rows_of(run, cloud, maps[name])
            own = own_cells(run, cloud, tuple(whole.shape[2:]))
            num_cells = own.sum()
            if answer.around is not None:
                ring = line_around(own)
                assert_close(answer.around, one_half(whole, answer.around)[:, :, ring])
                num_cells += ring.sum()
            assert answer.cells.shape == (*whole.shape[:2], num_cells), answer.path


def test_nothing_else_is_sent(case):
    run, _ = case
    meeting, tensors = {"step", "lane", "round", "path"}, {"statistics", "values", "scales"}
    for cloud in range(run.spec.num_clouds):
        begin, *answers = run.sent(cloud)
        assert begin.values.keys() == {"step", "lane", "timestep", "height", "width", "repeats"}
        assert {e.kind for e in answers} == {"Surroundings", "Attended"}
        for entry in answers:
            assert entry.values.keys() == meeting
            more = {"means", "around", "around_scales"} if entry.kind == "Attended" else set()
            assert entry.tensors.keys() == tensors | more
            assert entry.tensors["scales"] is entry.tensors.get("around_scales") is entry.tensors.get("means") is None
        assert [e.values["round"] for e in answers] == list(range(len(answers)))


def are_same(one: Entry, two: Entry) -> bool:
    if shape_of(one) != shape_of(two):
        return False
    pairs = zip(one.tensors.values(), two.tensors.values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs if a is not None)


def two_texts(folder, spec, to: Path) -> list[Pass]:
    """The same latent and negative prompt with two prompts."""
    latent, text = random_inputs(folder, size=(8, 8))
    embeds = text.prompt_embeds.clone()
    embeds[1] = random_inputs(folder, seed=9)[1].prompt_embeds[1]
    texts = (text, replace(text, prompt_embeds=embeds))
    return [recorded_pass(folder, spec, latent, t, to / str(i)) for i, t in enumerate(texts)]


@pytest.mark.parametrize("attention", ["fused", "hidden", "qkv"])
def test_a_text_that_stays_changes_nothing_but_what_attention_answers(tiny_sd, tmp_path, monkeypatch, attention):
    spec = StripSplit(num_clouds=2, attention=attention, stem="clouds", wire="fp32")
    one, two = two_texts(tiny_sd, spec, tmp_path)
    for cloud in range(2):
        pairs = list(zip(one.sent(cloud), two.sent(cloud), strict=True))
        first = next(i for i, pair in enumerate(pairs) if not are_same(*pair))
        assert pairs[first][0].kind == "Attended", "the first thing that differs"
        assert first == (3 if attention == "fused" else 5)
    let_attention_gather_nothing(monkeypatch)
    one, two = two_texts(tiny_sd, spec, tmp_path / "faked")
    for cloud in range(2):
        assert all(are_same(*pair) for pair in zip(one.sent(cloud), two.sent(cloud), strict=True))


def test_of_a_steps_beginning_only_what_attention_adds_depends_on_the_text(tiny_sd, tmp_path, monkeypatch):
    spec = StripSplit(num_clouds=2, num_columns=1, wire="fp32")
    one, two = two_texts(tiny_sd, spec, tmp_path)
    for cloud in range(2):
        assert torch.equal(one.sent(cloud)[0].tensors["latent"], two.sent(cloud)[0].tensors["latent"])
        pairs = list(zip(one.answers(cloud)[:3], two.answers(cloud)[:3], strict=True))
        assert all(torch.equal(a.statistics, b.statistics) for a, b in pairs)
        assert [torch.equal(a.cells, b.cells) for a, b in pairs] == [True, True, False]
        assert torch.equal(pairs[2][0].around, pairs[2][1].around)
        assert torch.equal(pairs[2][0].cells[0], pairs[2][1].cells[0]), "the negative prompt's half"
    let_attention_gather_nothing(monkeypatch)
    one, two = two_texts(tiny_sd, spec, tmp_path / "faked")
    for cloud in range(2):
        assert all(are_same(*pair) for pair in zip(one.sent(cloud), two.sent(cloud), strict=True))


def let_attention_gather_nothing(monkeypatch) -> None:
    """From anywhere: what is left does not depend on the text, if the claim is true."""

    def block(self, path, features, _, rows):
        return features.new_zeros(rows.stop - rows.start, *features.shape[1:])

    def gathered(self, path, features, rows):
        channels = features.shape[1] // (3 if self._spec.attention == "qkv" and path.endswith("attn1") else 1)
        num_rows = rows.stop - rows.start if path.endswith("attn2") else len(features)
        return features.new_zeros(num_rows, channels, *features.shape[2:])

    monkeypatch.setattr(Attention, "block", block)
    monkeypatch.setattr(Attention, "gathered", gathered)


@pytest.mark.parametrize("cross_attention", ["client", "cloud"])
def test_clouds_of_the_negative_prompt_are_sent_nothing_that_depends_on_the_prompt(tiny_sd, tmp_path, cross_attention):
    spec = StripSplit(num_clouds=4, cfg_clouds="separate", cross_attention=cross_attention, wire="fp32")
    one, two = two_texts(tiny_sd, spec, tmp_path)
    same = [all(are_same(*pair) for pair in zip(one.sent(cloud), two.sent(cloud), strict=True)) for cloud in range(4)]
    assert same == [True, True, False, False]


def test_shared_clouds_can_tell_two_prompts_apart(tiny_sd, tmp_path):
    """The control of the test above, and why the spec says that a guess can be tested."""
    spec = StripSplit(num_clouds=2, wire="fp32")
    one, two = two_texts(tiny_sd, spec, tmp_path)
    assert not all(are_same(*pair) for pair in zip(one.sent(0), two.sent(0), strict=True))
    assert any("guessed prompt" in sentence for sentence in spec.not_hidden)


def test_what_lies_outside_a_tile_and_its_border_does_not_show_before_the_first_statistics(tiny_sd, tmp_path):
    """Rows 0 to 3 and one of border are the first cloud's; what lies below changes."""
    spec = StripSplit(num_clouds=2, stem="clouds", wire="fp32")
    latent, text = random_inputs(tiny_sd, size=(8, 8))
    other = latent.clone()
    other[:, :, 5:] += 1
    one, two = (recorded_pass(tiny_sd, spec, x, text, tmp_path / str(i)) for i, x in enumerate((latent, other)))
    (begin, around, *_), (begin_too, around_too, *_) = one.sent(0), two.sent(0)
    assert are_same(begin, begin_too)
    assert not are_same(one.sent(1)[0], two.sent(1)[0])
    assert not torch.equal(around.tensors["statistics"], around_too.tensors["statistics"])
    assert any("group statistics are the whole picture's" in sentence for sentence in spec.not_hidden)
