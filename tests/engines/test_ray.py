"""Batches on a Ray cluster of two nodes, whatever dies of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t2i_spatial.engines import EngineSettings, make_engine, run_batches
from t2i_spatial.engines.ray import Need
from t2i_spatial.errors import InputError, ModelLoadError, T2ISpatialError
from t2i_spatial.run import Run
from tests.engines.workers import (
    SCHEMA,
    Dies,
    DiesWithItsNode,
    FailsAt,
    LoadsNowhere,
    Square,
    ray_node,
)
from tests.limits import HANGS

pytestmark = pytest.mark.xdist_group("ray")

BATCHES = [[0, 1], [2, 3], [4], [5, 6]]
SQUARES = [0, 1, 4, 9, 16, 25, 36]


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("square", {})
    return run


def test_batches_run_on_all_nodes_and_workers_write_their_shards(run, ray_engine, capsys):
    engine = ray_engine()
    assert engine.devices("auto") == ["cpu"] and not engine.is_here(["cpu"])
    assert engine.once(ray_node, "cpu") is not None
    run_batches(run, "square", BATCHES, Square, engine=engine)
    assert run.shards("square").read_all(SCHEMA)["n"].to_list() == SQUARES
    run_batches(run, "square", BATCHES, LoadsNowhere(""), engine=engine)  # nothing is left to do
    assert capsys.readouterr().out == ""


def test_poison_and_errors_end_as_on_one_machine(run, ray_engine, capsys):
    run_batches(run, "square", BATCHES, Dies, engine=ray_engine())
    rows = run.shards("square").read_all(SCHEMA)
    assert rows["n"].to_list() == [0, 1, 4, -1, 16, 25, 36]
    assert rows.filter(n=-1)["device"].to_list() == ["killed the worker"]
    run.begin("fails", {})
    with pytest.raises(InputError, match="two is not allowed"):
        run_batches(run, "fails", BATCHES, FailsAt, engine=ray_engine(workers=1))
    assert run.shards("fails").finished() == {0}
    run_batches(run, "fails", BATCHES, Square)  # the other engine goes on
    assert run.shards("fails").read_all(SCHEMA)["n"].to_list() == SQUARES
    assert capsys.readouterr().out == ""


def test_a_node_that_dies_takes_no_batch_with_it(run, cluster, ray_engine, tmp_path):
    from tests.engines.conftest import NODE

    doomed = cluster.add_node(**NODE)
    try:
        workers = DiesWithItsNode(doomed.node_id, str(tmp_path / "dead"))
        run_batches(run, "square", BATCHES, workers, engine=ray_engine())
        assert (tmp_path / "dead").exists()
        assert run.shards("square").read_all(SCHEMA)["n"].to_list() == SQUARES
    finally:
        cluster.remove_node(doomed, allow_graceful=False)


def test_a_node_without_the_model_takes_no_part(run, cluster, ray_engine, tmp_path, monkeypatch):
    from t2i_spatial.engines import ray

    told, marker = [], tmp_path / "told"

    def tell(text):
        told.append(text)
        marker.touch()  # before that the other node does nothing, however fast it is

    monkeypatch.setattr(ray, "note", tell)
    workers = LoadsNowhere(cluster.head_node.node_id, str(marker))
    run_batches(run, "square", BATCHES, workers, engine=ray_engine())
    assert run.shards("square").read_all(SCHEMA)["n"].to_list() == SQUARES
    assert "takes no part: no weights here" in "".join(told)
    run.begin("none", {})
    with pytest.raises(T2ISpatialError, match="no weights here"):
        run_batches(run, "none", BATCHES, LoadsNowhere(""), engine=ray_engine())


def test_other_versions_are_named(run, ray_engine, monkeypatch):
    from t2i_spatial.engines import ray

    here = ray.environment()
    other = {**here, "python": "2.7.18", "packages": {**here["packages"], "torch": "0.4.1+cpu"}}
    engine = ray_engine()
    monkeypatch.setattr(ray, "environment", lambda: other)
    told = r"torch \S+ here, 0\.4\.1\+cpu there; Python 3\S+ here, 2\.7\.18 there"
    with pytest.raises(T2ISpatialError, match=told):
        run_batches(run, "square", BATCHES, Square, engine=engine)
    with pytest.raises(T2ISpatialError, match="torch"):
        engine.once(ray_node, "cpu")


def test_a_killed_driver_leaves_shards_that_another_engine_takes_up(tmp_path, cluster):
    run = Run.create(tmp_path / "run")
    run.begin("square", {})
    code = f"""
from t2i_spatial.engines import EngineSettings, make_engine, run_batches
from t2i_spatial.run import Run
from tests.engines.workers import Slow
engine = make_engine(EngineSettings(engine="ray", address={cluster.address!r}, workers=1))
workers = Slow({str(tmp_path / "go-on")!r}, 4)
run_batches(Run.open({str(run.path)!r}), "square", {BATCHES}, workers, engine=engine)
"""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    driver = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        wait_for(lambda: run.shards("square").finished() == {0, 1}, driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    (tmp_path / "go-on").touch()
    run_batches(run, "square", BATCHES, Square)
    assert run.shards("square").read_all(SCHEMA)["n"].to_list() == SQUARES


def wait_for(condition, process):
    end = time.monotonic() + HANGS
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


def test_addresses_that_do_not_answer_are_one_line(monkeypatch):
    pytest.importorskip("ray")
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address, told in (
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("ray://somewhere:10001", "not host:port"),
        ("head", "not host:port"),
    ):
        engine = make_engine(EngineSettings(engine="ray", address=address))
        with pytest.raises(InputError, match=told):
            engine.devices("auto")


def test_devices_of_a_cluster_are_not_numbered(ray_engine):
    with pytest.raises(InputError, match="gpus-per-worker"):
        ray_engine().devices("cuda:1")
    with pytest.raises(InputError, match="no node of the Ray cluster has a GPU"):
        ray_engine().devices("cuda")


def test_room_on_a_node():
    big = {"CPU": 16.0, "GPU": 4.0}
    assert Need(1.0, 1.0).places(big) == 4
    assert Need(1.0, 0.5).places(big) == 8
    assert Need(1.0, 0.3).places(big) == 12
    assert Need(1.0, 2.0).places(big) == 2
    assert Need(8.0, 1.0).places(big) == 2
    assert Need(1.0, 1.0).places({"CPU": 16.0}) == 0
    assert Need(None, 0.0).places(big) == 1
    assert Need(2.0, 0.0).places(big) == 8
    assert Need(None, 0.0).places({}) == 0


def test_errors_of_a_model_travel(ray_engine):
    with pytest.raises(ModelLoadError, match="no weights here"):
        ray_engine().once(LoadsNowhere(""), "cpu")
