"""Jobs that make a stage together on a store: each has a lease of its own."""

from __future__ import annotations

import pytest

from t2i_spatial import jobs
from t2i_spatial.engines.shards import ShareOfBatches
from t2i_spatial.files import read_table
from t2i_spatial.jobs import JobDone
from t2i_spatial.run import Run
from tests.engines.job_stage import SQUARES, elsewhere, job, square
from tests.engines.workers import Square


def test_jobs_complete_a_stage_on_a_store(url, monkeypatch):
    Run.create(url)
    original = ShareOfBatches.run
    seen = []

    def at_work(self, work):
        yield from original(self, work)
        if self.job == (1, 2) and not seen:
            seen.append(jobs.at_work(Run.open(url).path))
            for engine in (job("1/2"), None):
                seen.append(str(elsewhere(lambda e=engine: square(Run.open(url), engine=e))))

    monkeypatch.setattr(ShareOfBatches, "run", at_work)
    with pytest.raises(JobDone, match="--shard 2/2"):
        square(Run.open(url), engine=job("1/2"))
    assert seen[0] == ["1/2"]
    assert "another job with --shard 1/2 is writing" in seen[1]
    assert "jobs with --shard 1/2 are writing" in seen[2]
    assert square(Run.open(url), engine=job("2/2")) == "made"
    run = Run.open(url)
    assert read_table(run.path / "squares.parquet")["n"].to_list() == SQUARES
    assert jobs.at_work(run.path) == [] and not list(run.path.glob(".shards/*"))


def test_a_shard_on_a_store_is_never_overwritten(url):
    run = Run.create(url)
    run.begin("square", {})
    shards = run.shards("square")
    assert shards.write(0, Square("first")([1]))
    assert shards.write(0, Square("first")([1]))
    assert not shards.write(0, Square("late")([1]))
    assert shards.read(0)["device"].to_list() == ["first"]
