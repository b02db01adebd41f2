import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from odd_clouds import Answer, Ask, odd_processes
from sfumato.client.local_clouds import LocalClouds
from sfumato.errors import ModelError, TransportError
from sfumato.transport.keys import throw_away_keys
from sfumato.transport.nursery import (
    Died,
    Failed,
    Listening,
    NurseryOrder,
    report_from_line,
    report_to_line,
)

TESTS = Path(__file__).parent.parent


def ask() -> list[Ask]:
    return [Ask(manner="echo", payload=torch.ones(2))] * 2


def family(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def gone_soon(processes: list[psutil.Process], seconds: float = 8.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(
            p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes if psutil.pid_exists(p.pid)
        ):
            return True
        time.sleep(0.05)
    return False


def test_processes_start_answer_and_stop() -> None:
    before = set(family(psutil.Process()))
    with odd_processes(2) as clouds:
        with clouds.open_channel() as channel:
            assert [a.payload.tolist() for a in channel.exchange(ask(), Answer)] == [[1, 1]] * 2
        started = [p for p in family(psutil.Process()) if p not in before]
        assert len(started) == 3
        words = " ".join(" ".join(p.cmdline()) + str(p.environ()) for p in started)
        assert not any(token in words for token in clouds.keys.tokens)
        assert "PRIVATE KEY" not in words
        with clouds.open_channel() as channel:
            channel.exchange(ask(), Answer)
    assert gone_soon(started, 1.0)
    with pytest.raises(TransportError, match="were stopped"):
        clouds.start()


def test_all_stop_when_the_caller_raises() -> None:
    def run() -> None:
        with odd_processes(1) as clouds:
            clouds.wait_until_ready()
            started.extend(family(psutil.Process()))
            raise ZeroDivisionError

    started: list[psutil.Process] = []
    with pytest.raises(ZeroDivisionError):
        run()
    assert gone_soon(started, 1.0)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_all_stop_with_the_client(sign: signal.Signals) -> None:
    program = (
        "import time, odd_clouds\n"
        "with odd_clouds.odd_processes(2) as clouds:\n"
        "    clouds.wait_until_ready()\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", program], cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert client.stdout is not None
    with client:
        assert client.stdout.readline() == b"ready\n"
        started = family(psutil.Process(client.pid))
        assert len(started) == 3
        client.send_signal(sign)
        client.wait(10)
        assert gone_soon(started, 5.0)


def test_clouds_die_with_their_nursery() -> None:
    with odd_processes(2) as clouds:
        clouds.wait_until_ready()
        nursery = psutil.Process(clouds._process.pid)  # type: ignore[union-attr]
        children = family(nursery)
        nursery.kill()
        assert gone_soon(children, 3.0)


def test_interrupts_do_not_reach_clouds() -> None:
    with odd_processes(1) as clouds, clouds.open_channel() as channel:
        for process in family(psutil.Process()):
            process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        channel.exchange(ask()[:1], Answer)


def test_the_start_does_not_wait(tmp_path: Path) -> None:
    started = time.monotonic()
    clouds = odd_processes(2, log=tmp_path / "log").start()
    assert time.monotonic() - started < 0.8
    clouds.close()


def test_logs_can_be_kept(tmp_path: Path) -> None:
    with odd_processes(2, log=tmp_path / "log") as clouds, clouds.open_channel() as channel:
        channel.exchange(ask(), Answer)
    assert (tmp_path / "log").read_text().count("session 1 opened") == 2


def broken(program: str) -> Callable[[], LocalClouds]:
    return lambda: LocalClouds("none", 1, nursery=(sys.executable, "-c", program))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (broken("raise SystemExit('no such library')"), "did not start: no such library"),
        (broken("print('hello'); input()"), "something that is not a report"),
        (broken("input(); import os; os.kill(os.getpid(), 9)"), "did not start: they said nothing"),
        (broken('print(\'{"report": "Died", "cloud": 0, "status": -9}\')'), "cloud-1 died while starting"),
    ],
)
def test_failed_starts_are_one_sentence(make: Callable[[], LocalClouds], match: str) -> None:
    with make() as clouds, pytest.raises(TransportError, match=match):
        clouds.wait_until_ready()


def test_a_start_that_takes_too_long() -> None:
    with (
        broken("input(); import sys; sys.stdin.read()")() as clouds,
        pytest.raises(TransportError, match="did not start in time"),
    ):
        clouds.wait_until_ready(timeout_seconds=0.5)


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    with LocalClouds(tmp_path, 1) as clouds, pytest.raises(ModelError, match="not a model folder"):
        clouds.wait_until_ready()


def test_numbers_of_clouds() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LocalClouds("none", 0)


def test_orders_and_reports_survive_their_pipes() -> None:
    order = NurseryOrder(model="m", dtype="fp32", threads=2, idle_seconds=3.0, clouds=throw_away_keys(2).clouds)
    assert NurseryOrder.from_line(order.to_line()) == order
    assert "PRIVATE" not in repr(order)
    for report in (Listening(cloud=1, port=7), Died(cloud=0, status=-9), Failed(error="ModelError", sentence="é\n")):
        line = report_to_line(report)
        assert line.count(b"\n") == 1
        assert report_from_line(line) == report
    for line in (b"", b"[]", b'{"clouds": 3}', b"{}"):
        with pytest.raises(TransportError):
            NurseryOrder.from_line(line)


def test_the_nursery_refuses_to_run_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sfumato.worker.prefork"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        check=False,
    )
    assert done.returncode == 1
    report = report_from_line(done.stdout)
    assert isinstance(report, Failed)
    assert "only a client starts it" in report.sentence


def test_a_long_sentence_in_any_script_still_reads_as_a_report():
    from sfumato.transport.nursery import Failed, report_from_line, report_to_line

    line = report_to_line(Failed(error="ModelError", sentence="模" * 3000))
    assert len(line) < 4096
    assert report_from_line(line[:-1]) == Failed(error="ModelError", sentence="模" * 600)
