"""One step in one process: its time, and its numbers."""

import pytest
import torch

from sfumato.bench.engine import EngineRequest, measure
from sfumato.bench.fidelity import FidelityRequest, measure_one_pass
from sfumato.bench.kernel_clock import KernelClock, idle
from sfumato.bench.ways import named_way
from sfumato.errors import Unsupported


def test_the_clock_sees_operators_and_not_python():
    large = torch.ones(400, 400)
    with KernelClock() as clock:
        sum(range(1_000_000))
        assert clock.seconds == 0
        large @ large
    assert clock.num_calls == 1
    assert clock.seconds > 0


def test_what_computes_nothing_is_no_kernel():
    nothing = idle()
    assert 0 < nothing.clocked < 1e-3
    assert 0 < nothing.instrument < 1e-3
    with KernelClock(1.0) as clock:
        torch.zeros(2).view(2, 1)
    assert clock.seconds == 0
    assert clock.num_calls == 2


def test_kernels_and_engine_make_up_a_step(tiny_sd):
    ways = [named_way(text, 2) for text in ("layer-split", "strip-split")]
    request = EngineRequest(
        model=str(tiny_sd.path), ways=[], num_clouds=[], repeats=2, threads=1, height=32, width=32, out=None
    )
    threads = torch.get_num_threads()
    unsplit, *split = measure(request, ways, lambda _: None)
    assert torch.get_num_threads() == threads
    assert unsplit.codec_seconds == 0
    for times in split:
        assert times.kernel_calls > unsplit.kernel_calls
        assert 0 < times.codec_seconds < times.seconds
        assert times.kernel_seconds > 0
        assert 0 < times.overhead < 1


def test_a_wider_wire_is_closer_in_one_pass(tiny_sd):
    request = FidelityRequest(
        model=str(tiny_sd.path),
        ways=[],
        num_clouds=[],
        steps=1,
        guidance_scale=5.0,
        seeds=1,
        one_pass=True,
        scheduler="ddim",
        out=None,
    )
    wires = ("wire=fp32", "wire=fp16", "wire=int8", "wire=fp16 borders=direct")
    ways = [named_way(f"strip-split {wire}", 2) for wire in wires]
    fp32, fp16, int8, direct = (row.decibels for row in measure_one_pass(request, ways, lambda _: None))
    assert fp32 >= 120 > fp16 >= 80 > int8 > 50
    assert direct == fp16


def test_clouds_that_meet_are_not_timed_in_one_thread(tiny_sd):
    way = named_way("strip-split borders=direct", 2)
    request = EngineRequest(
        model=str(tiny_sd.path), ways=[], num_clouds=[], repeats=1, threads=1, height=32, width=32, out=None
    )
    with pytest.raises(Unsupported, match="clouds that meet have one each: measure strip-split borders=direct, n = 2"):
        measure(request, [way], lambda _: None)
