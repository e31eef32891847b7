from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2i_spatial.engines import ENGINES, EngineSettings, Local, make_engine, run_batches
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.run import Run
from tests.engines.workers import SCHEMA, Dies, DiesAtOnce, FailsAt, Square
from tests.limits import HANGS

BATCHES = [[0, 1], [2, 3], [4]]


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("square", {})
    return run


def test_rows_come_back_in_batch_order(run):
    run_batches(run, "square", BATCHES, Square)
    assert run.shards("square").read_all(SCHEMA)["n"].to_list() == [0, 1, 4, 9, 16]


def test_only_missing_batches_are_done_again(run):
    with pytest.raises(InputError, match="two is not allowed"):
        run_batches(run, "square", BATCHES, FailsAt)
    assert run.shards("square").finished() == {0}
    done = []

    class Recording(Square):
        def __call__(self, batch):
            done.append(list(batch))
            return super().__call__(batch)

    run_batches(run, "square", BATCHES, Recording)
    assert done == [[2, 3], [4]]
    assert run.shards("square").read_all(SCHEMA)["n"].to_list() == [0, 1, 4, 9, 16]


def test_no_worker_is_made_when_nothing_is_left(run):
    run_batches(run, "square", BATCHES, Square)

    def never(_device):
        raise AssertionError("made a worker")

    run_batches(run, "square", BATCHES, never)


def test_several_devices_work_in_their_own_processes(run):
    run_batches(run, "square", BATCHES, Square, devices=("cpu:a", "cpu:b"))
    rows = run.shards("square").read_all(SCHEMA)
    assert rows["n"].to_list() == [0, 1, 4, 9, 16]
    assert set(rows["device"]) <= {"cpu:a", "cpu:b"}


def test_a_failed_stage_of_many_batches_lets_its_process_end(tmp_path):
    code = f"""
from tests.engines.workers import FailsAt
from t2i_spatial.engines import run_batches
from t2i_spatial.run import Run
if __name__ == "__main__":
    run = Run.create({str(tmp_path / "run")!r})
    run.begin("square", {{}})
    batches = [[k] * 100 for k in range(2000)]
    run_batches(run, "square", batches, FailsAt, devices=("cpu:a", "cpu:b"))
"""
    (tmp_path / "main.py").write_text(code)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "main.py")],
        env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=HANGS,
    )  # fmt: skip
    assert done.returncode == 1 and "two is not allowed" in done.stderr


def test_an_error_in_another_process_arrives_here(run):
    with pytest.raises(InputError, match="two is not allowed"):
        run_batches(run, "square", BATCHES, FailsAt, devices=("a", "b"))


def test_the_item_that_kills_its_process_gets_a_row_that_says_so(run):
    devices = ("cpu:a", "cpu:b")
    run_batches(run, "square", BATCHES, Dies, devices=devices)
    rows = run.shards("square").read_all(SCHEMA)
    assert rows["n"].to_list() == [0, 1, 4, -1, 16]
    assert rows.filter(n=-1)["device"].to_list() == ["killed the worker"]


def test_one_device_may_have_a_process_of_its_own(run):
    engine = make_engine(EngineSettings(workers=1))
    assert not engine.is_here(["cpu"])
    run_batches(run, "square", [[0], [3], [4]], Dies, engine=engine)
    assert run.shards("square").read_all(SCHEMA)["n"].to_list() == [0, -1, 16]


def test_a_process_that_cannot_start_ends_the_stage(run):
    with pytest.raises(T2ISpatialError, match="exit code 9 before it could work"):
        run_batches(run, "square", BATCHES, DiesAtOnce, devices=("a", "b"))


def test_an_engine_of_another_package_is_found_by_its_name(run, monkeypatch):
    monkeypatch.setattr(ENGINES, "_entries", dict(ENGINES._entries))

    @ENGINES.register("backwards")
    class Backwards(Local):
        def run(self, work):
            return super().run(dataclasses.replace(work, batches=work.batches[::-1]))

    engine = make_engine(EngineSettings(engine="backwards"))
    run_batches(run, "square", BATCHES, Square, engine=engine)
    assert run.shards("square").read_all(SCHEMA)["n"].to_list() == [0, 1, 4, 9, 16]
