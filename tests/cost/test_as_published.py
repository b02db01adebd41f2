"""Every cell of the PPIDM paper's Tables II, VIII, IX and X, typed off its pages."""

import pytest

from sfumato.cost.as_published import count_as_published
from sfumato.cost.link import FIVE_G
from sfumato.cost.published_cells import PRINTED_PARAMETERS
from sfumato.models.folder import find_architecture
from sfumato.models.skeleton import whole_skeleton
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain

# (up min, max, total), (down min, max, total)
TABLES = {
    "VIII": {
        2: ((0.23, 7.96, 85.23), (0.031, 5, 55.18)),
        4: ((0.15, 4.21, 47.03), (0.016, 2.5, 27.59)),
        8: ((0.11, 2.34, 27.92), (0.008, 1.25, 13.79)),
    },
    "IX": {
        2: ((0.90, 2.68, 29.36), (0.15, 2.5, 22.03)),
        4: ((0.83, 1.43, 18.34), (0.07, 1.25, 11.01)),
        8: ((0.68, 0.81, 12.83), (0.03, 0.625, 5.50)),
    },
    "X": {
        2: ((0.15, 7.5, 171.87), (0.0002, 0.0002, 0.059)),
        4: ((0.07, 3.75, 85.93), (0.0002, 0.0002, 0.059)),
        8: ((0.03, 1.87, 42.96), (0.0002, 0.0002, 0.059)),
    },
}


@pytest.fixture(scope="module")
def counted():
    sd15 = find_architecture("sd15")
    return {n: count_as_published(sd15, LayerSplit(num_clouds=n), FIVE_G) for n in (2, 4, 8)}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("num_clouds", [2, 4, 8])
def test_every_printed_cell(counted, table, num_clouds):
    up, down = TABLES[table][num_clouds]
    found = counted[num_clouds].published["tables"][table]
    assert tuple(found["up"].values()) == up
    assert tuple(found["down"].values()) == down


def test_the_layers_that_the_tables_count(counted):
    assert {kind: topic.rounds for kind, topic in counted[4].per_cloud.items()} == {
        "conv": 51,
        "cross_attention": 16,
        "norm": 61,
    }


def test_bytes_behind_the_cells_by_hand(counted):
    conv, attention, norm = (counted[4].per_cloud[k] for k in ("conv", "cross_attention", "norm"))
    assert conv.up.max == 960 * 64 * (64 // 4 + 2) * 4  # up_blocks.3.resnets.0.conv1
    assert conv.down.min == 4 * 64 * 64 // 4 * 4  # conv_out
    assert attention.up.max == (64 * 64 // 4 + 2 * 77) * 320 * 4
    assert norm.up.max == 960 * 64 * 64 // 4 * 4
    assert norm.down.total == 61 * 4 * 256


def test_volumes_over_four_clouds_as_in_section_v_e(counted):
    volumes = counted[4].published["all_clouds"]
    assert volumes["conv"] == {"up": 188.12, "down": 110.37}
    assert volumes["cross_attention"] == {"up": 73.38, "down": 44.06}
    assert volumes["norm"] == {"up": 343.75, "down": 0.23}  # printed 343.74, which is no multiple of 61 norms
    assert counted[4].sent_bytes >> 20 == 605


def test_times_as_published_and_corrected(counted):
    cost = counted[4]
    assert cost.published["seconds"] == {"conv": 10.88, "cross_attention": 7.23, "norm": 33.89, "step": 52.0}
    assert cost.seconds_per_step == 52.0
    assert cost.published["corrected_seconds"]["conv"] == pytest.approx(188.125 * 8 / 81.14, abs=0.01)
    assert cost.published["corrected_seconds"]["step"] == pytest.approx(59.7, abs=0.05)
    assert "10.88" in cost.notes[0]
    assert "59.7 s, not 52 s" in cost.notes[0]


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_table_ii(name):
    parameters = whole_skeleton(find_architecture(name)).parameters()
    for part, printed in PRINTED_PARAMETERS[name].items():
        digits = 50e6 if printed >= 1e9 else 1e6  # 2.6 B has one digit after the point
        assert abs(getattr(parameters, part) - printed) < digits, part


def test_exact_parameter_counts():
    sd15, sdxl = (whole_skeleton(find_architecture(n)).parameters() for n in ("sd15", "sdxl"))
    assert (sd15.text_encoder, sd15.vae_decoder, sd15.unet) == (123_060_480, 49_490_199, 859_520_964)
    assert (sd15.conv, sd15.attention) == (589_111_364, 93_536_640)
    assert (sdxl.text_encoder, sdxl.vae_decoder, sdxl.unet) == (817_720_320, 49_490_199, 2_567_463_684)
    assert (sdxl.conv, sdxl.attention) == (333_272_004, 955_353_600)


def test_differences_from_table_ii_are_said():
    cost = count_as_published(find_architecture("sdxl"), LayerSplit(num_clouds=4), FIVE_G)
    assert "conv 333.27M (printed 334M)" in cost.notes[-1]
    assert "attention 955.35M (printed 956M)" in cost.notes[-1]


def test_only_what_was_published_is_counted_as_published():
    sd15 = find_architecture("sd15")
    with pytest.raises(ValueError, match="only layer-split was published, got plain"):
        count_as_published(sd15, Plain(), FIVE_G)
    with pytest.raises(ValueError, match="clouds must be one of 2, 4, 8, got 3"):
        count_as_published(sd15, LayerSplit(num_clouds=3), FIVE_G)
