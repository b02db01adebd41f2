"""The link model, against sums done by hand."""

import pytest

from sfumato.cost.link import FIVE_G, Link, parse_link

SIMPLE = Link(up_mbit=8, down_mbit=80, rtt_milliseconds=50)


def test_a_round_waits_for_the_upload_and_then_for_the_download():
    # 2 MB at 1 MB/s up is 2 s; 10 MB at 10 MB/s down is 1 s; and 0.05 s to and fro
    assert SIMPLE.round_seconds(2e6, 10e6) == pytest.approx(3.05)


def test_an_empty_round_takes_the_round_trip():
    assert SIMPLE.round_seconds(0, 0) == pytest.approx(0.05)


def test_5g_has_the_papers_rates():
    assert (FIVE_G.up_mbit, FIVE_G.down_mbit) == (81.14, 340.56)
    assert parse_link("5G") is FIVE_G


def test_a_link_in_numbers():
    assert parse_link("100/400.5/15") == Link(up_mbit=100, down_mbit=400.5, rtt_milliseconds=15)


@pytest.mark.parametrize("text", ["4g", "100/400", "a/b/c", "1/2/-3", "", "100/400/15ms"])
def test_what_is_no_link_is_refused(text):
    with pytest.raises(ValueError, match="link must be 5g or UP/DOWN/RTT"):
        parse_link(text)


def test_a_link_without_rate_is_refused():
    with pytest.raises(ValueError, match="positive rates"):
        parse_link("0/100/5")
