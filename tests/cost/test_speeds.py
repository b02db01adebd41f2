"""The seconds of a step, against sums and schedules done by hand."""

from dataclasses import replace

import pytest

from sfumato.cost.dry_run import Event, Part, Round
from sfumato.cost.link import Link
from sfumato.cost.speeds import Speeds, stated_model, step_seconds

LINK = Link(up_mbit=8, down_mbit=80, rtt_milliseconds=1000)
SPEEDS = Speeds(client_gflops=1, cloud_gflops=2)
# Alone: 2 s up, 1 s of RTT, 6 s at the busiest cloud, 3 s down.
ROUND = Round("halo", (500_000, 1_500_000), (10_000_000, 20_000_000), (4 * 10**9, 12 * 10**9))
POST, WAIT = False, True


def part(*events, after=0):
    rounds = (ROUND,) * (1 + max(number for _, number, _ in events))
    return Part(
        rounds=rounds, events=tuple(Event(s * 10**9, n, kind) for s, n, kind in events), client_flops_after=after
    )


SERIAL = part((1, 0, POST), (0, 0, WAIT), (5, 1, POST), (0, 1, WAIT), after=2 * 10**9)


def test_rounds_one_after_the_other_are_a_sum():
    found = step_seconds(SERIAL, LINK, SPEEDS)
    assert (found.latency, found.up, found.down, found.client, found.clouds) == pytest.approx((2, 4, 6, 8, 12))
    assert found.overlapped == 0
    assert found.total == pytest.approx(32)


def test_computing_of_unknown_speed_takes_no_time():
    found = step_seconds(SERIAL, LINK, Speeds())
    assert (found.client, found.clouds) == (None, None)
    assert found.total == pytest.approx(12)


def test_rounds_under_way_together_overlap_where_they_use_different_things():
    step = part((1, 0, POST), (1, 1, POST), (0, 0, WAIT), (4, 1, WAIT))
    # Posted at 1 and 2; uploaded at 3 and 5; the busiest cloud is done at 9.5 and, after the first, at 15.5; downloaded
    # at 13 and 19. The client computes from 13 to 17, and waits.
    found = step_seconds(step, LINK, SPEEDS)
    assert found.total == pytest.approx(19)
    assert found.overlapped == pytest.approx(2 + 4 + 6 + 6 + 12 - 19)


def test_a_shared_uplink_serves_one_round_after_the_other():
    wide = replace(LINK, down_mbit=1e9, rtt_milliseconds=0)
    step = part((0, 0, POST), (0, 1, POST), (0, 2, POST), (0, 0, WAIT), (0, 1, WAIT), (0, 2, WAIT))
    assert step_seconds(step, wide, Speeds()).total == pytest.approx(6)


def test_a_client_that_takes_any_answer_goes_on_with_the_first_to_come():
    quick, slow = Round("halo", (0,), (0,), (2 * 10**9,)), Round("halo", (0,), (0,), (20 * 10**9,))
    # Two chains of two rounds, 1 GFLOP of the client before each: a slow one and two quick ones behind it.
    events = ((1, 0, POST), (1, 1, POST), (0, 0, WAIT), (1, 2, POST), (0, 1, WAIT), (1, 3, POST), (0, 2, WAIT))
    marked = [Event(s * 10**9, n, kind, is_any=kind) for s, n, kind in (*events, (0, 3, WAIT))]
    step = Part(rounds=(slow, quick, quick, quick), events=tuple(marked), client_flops_after=0)
    at_once = replace(LINK, up_mbit=1e9, down_mbit=1e9)
    # Clouds are busy from 1.5 with the slow round, 10 s; the second chain's wait behind it, one by one.
    # 11.5 and 12.5 done, there 12 and 13; the client posts 2 at 13 and, free again, 3 at 14; done at 14.5 and 15.5.
    assert step_seconds(step, at_once, SPEEDS).total == pytest.approx(16, abs=1e-3)
    # With clouds of no modelled time the chains do not meet: posted at 1 and 2, there at 2 and 3, again at 3 and 4.
    assert step_seconds(step, at_once, replace(SPEEDS, cloud_gflops=None)).total == pytest.approx(5, abs=1e-3)


def test_exchanges_between_clouds_take_half_a_round_trip_and_the_busiest_clouds_upload():
    meeting = replace(ROUND, between=((1_000_000, 250_000), (0, 500_000)))
    step = replace(SERIAL, rounds=(ROUND, meeting))
    found = step_seconds(step, LINK, SPEEDS)
    # 0.5 s and 1 s of upload; 0.5 s and 0.5 s.
    assert found.between == pytest.approx(2.5)
    assert found.total == pytest.approx(32 + 2.5)
    assert found.overlapped == 0
    assert step_seconds(SERIAL, LINK, SPEEDS).between is None


def test_the_model_says_what_it_leaves_out():
    assert "computing" not in stated_model(SPEEDS)
    assert "computing time of client and cloud is not modelled" in stated_model(Speeds())
    assert "between clouds" in stated_model(Speeds(), meets=True)
    assert "busiest cloud's FLOPs" in stated_model(Speeds(cloud_gflops=1))
