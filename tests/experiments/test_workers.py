import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sfumato.errors import ExperimentError, Unsupported
from sfumato.experiments.workers import LocalWorkers

TESTS = Path(__file__).parent.parent


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    if number == 3:
        raise Unsupported("three cannot be done")
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep(seconds: int) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_results_errors_and_deaths() -> None:
    with LocalWorkers(1) as workers:
        assert sorted(workers.map(double, range(7))) == [(i, 2 * i) for i in range(7)]
        with pytest.raises(Unsupported, match="three cannot be done"):
            list(workers.map(refuse, range(5)))
        with pytest.raises(ExperimentError, match="a worker process died, most often for want of memory"):
            list(workers.map(die, [1]))


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "from experiments.test_workers import sleep\nfrom sfumato.experiments.workers import LocalWorkers\n"
        "if __name__ == '__main__':\n"
        "    workers = LocalWorkers(1)\n"
        "    print(next(workers.map(sleep, [0, 60]))[1], flush=True)\n"
        "    import time; time.sleep(60)\n"
    )
    (tmp_path / "program.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert psutil.wait_procs([worker], timeout=10)[1] == []
