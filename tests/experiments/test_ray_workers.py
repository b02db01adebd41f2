import socket
from pathlib import Path

import polars as pl
import pytest

from experiments.test_running import ThisProcess, console, rows_of
from sfumato.errors import ExperimentError
from sfumato.experiments.grid import Sweep
from sfumato.experiments.ray_workers import RayWorkers
from sfumato.experiments.running import Extent, run


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_two_nodes_give_the_rows_of_one_process(small_sweep: Sweep, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    extent = Extent(limit=2, ablation_limit=1)
    run(small_sweep, extent, tmp_path / "here", ThisProcess(), console())
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        with RayWorkers(cluster.address) as workers:
            assert run(small_sweep, extent, tmp_path / "ray", workers, console()) == 5
    finally:
        cluster.shutdown()
    here, there = rows_of(tmp_path / "here"), rows_of(tmp_path / "ray")
    assert there.equals(here)
    assert there.filter(pl.col("picture").bin.size() > 100).height == 5


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ExperimentError, match=f"no Ray cluster answers at 127.0.0.1:{port}: check the address"):
        RayWorkers(f"127.0.0.1:{port}")


def test_a_port_where_something_else_listens(monkeypatch) -> None:
    monkeypatch.setattr("sfumato.experiments.ray_workers._CONNECT_SECONDS", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ExperimentError, match="no Ray cluster answers at"),
    ):
        RayWorkers(f"127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize("address", ["somewhere", "host:port", ":", "ray://"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="--ray must be auto, HOST:PORT or ray://HOST:PORT"):
        RayWorkers(address)


def test_a_cluster_whose_head_died_without_a_word(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text("127.0.0.1:9\n")
    with pytest.raises(ExperimentError, match=r"no Ray cluster answers at 127\.0\.0\.1:9"):
        RayWorkers("auto")
