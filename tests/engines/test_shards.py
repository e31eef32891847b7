"""Jobs with `--shard` on one run directory: what they leave to each other, and what is refused."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from t2i_spatial import jobs
from t2i_spatial.cli.main import main
from t2i_spatial.engines import EngineSettings, make_engine
from t2i_spatial.engines.shards import ShareOfBatches
from t2i_spatial.errors import (
    IncompleteRunError,
    InputError,
    PlanMismatchError,
)
from t2i_spatial.files import read_table
from t2i_spatial.jobs import JobDone
from t2i_spatial.run import Run
from t2i_spatial.stages.merge import merge_run
from tests.engines.job_stage import SQUARES, elsewhere, job, square
from tests.tiny_models import tiny_model


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run")


def test_the_last_job_completes_the_stage_whichever_it_is(run):
    with pytest.raises(JobDone, match=r"shard 2/3 is done, 2 of 5 .* --shard 1/3, 3/3$"):
        square(run, engine=job("2/3"))
    with pytest.raises(JobDone, match=r"--shard 1/3$"):
        square(Run.open(run.path), engine=job("3/3"))
    assert not (run.path / "squares.parquet").exists()
    assert square(Run.open(run.path), engine=job("1/3")) == "made"
    assert read_table(run.path / "squares.parquet")["n"].to_list() == SQUARES
    assert square(Run.open(run.path), engine=job("2/3")) == "already"
    assert "jobs" not in Run.open(run.path).manifest["stages"]["square"]


def test_the_same_command_without_a_shard_does_the_rest(run):
    with pytest.raises(JobDone):
        square(run, engine=job("2/2"))
    assert square(run) == "made"
    assert read_table(run.path / "squares.parquet")["n"].to_list() == SQUARES


def test_a_stage_completed_by_another_job_meanwhile_is_not_made_again(run, monkeypatch):
    original = ShareOfBatches.run

    def overtaken(self, work):
        yield from original(self, work)
        if self.job == (1, 2):
            assert elsewhere(lambda: square(Run.open(run.path), engine=job("2/2"))) == "made"

    monkeypatch.setattr(ShareOfBatches, "run", overtaken)
    assert square(run, engine=job("1/2")) == "already"
    assert read_table(run.path / "squares.parquet")["n"].to_list() == SQUARES


def test_jobs_work_side_by_side_and_no_two_are_the_same_one(run, monkeypatch):
    original = ShareOfBatches.run
    seen = []

    def at_work(self, work):
        yield from original(self, work)
        if self.job == (1, 3):
            assert jobs.at_work(run.path) == ["1/3"]
            for engine in (job("1/3"), job("2/3"), job("1/2"), None):
                seen.append(elsewhere(lambda e=engine: square(Run.open(run.path), engine=e)))
            seen.append(elsewhere(lambda: merge_run(Run.open(run.path))))

    monkeypatch.setattr(ShareOfBatches, "run", at_work)
    with pytest.raises(JobDone, match="4 of 5"):
        square(run, engine=job("1/3"))
    told = [f"{type(error).__name__}: {error}" for error in seen]
    assert "InputError: another job with --shard 1/3 is writing" in told[0]
    assert "JobDone" in told[1]
    assert "being made by 3 jobs, so --shard is 1/3 to 3/3" in told[2]
    assert "InputError: jobs with --shard 1/3 are writing" in told[3]
    assert "InputError: jobs with --shard 1/3 are writing" in told[4]
    assert jobs.at_work(run.path) == []


def test_a_job_with_another_plan_is_refused(run):
    with pytest.raises(JobDone):
        square(run, engine=job("1/2"))
    with pytest.raises(PlanMismatchError, match="plan: 0 there, 1 now"):
        square(run, engine=job("2/2"), plan=1)


def test_merge_names_what_is_missing(run):
    with pytest.raises(InputError, match="no stage is being made by jobs"):
        merge_run(run)
    with pytest.raises(JobDone):
        square(run, engine=job("2/4"))
    shard = run.shards("square").path(1)
    shard.write_bytes(b"cut off")
    told = r"5 of 5 batches of 'square' .* --shard 1/4 \(2 batches\), 2/4 \(1 batches\), 3/4"
    with pytest.raises(IncompleteRunError, match=told):
        merge_run(Run.open(run.path))


def test_what_a_job_says_is_no_error(tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat left of a dog\na dog left of a cat\n")
    common = ["generate", str(tmp_path / "prompts.txt"), "-o", str(tmp_path / "run")]
    common += ["--samples", "1", "--batch-size", "1", "--steps", "1", "--device", "cpu"]
    common += ["--model", str(tiny_model("sd1"))]
    first = CliRunner().invoke(main, [*common, "--shard", "1/2"])
    assert first.exit_code == 0 and "still to come: --shard 2/2" in first.stderr
    assert "error" not in first.stderr and first.stdout == ""
    asked = CliRunner().invoke(main, ["merge", str(tmp_path / "run")])
    assert asked.exit_code == 1 and "--shard 2/2 (1 batches)" in asked.stderr
    last = CliRunner().invoke(main, [*common, "--shard", "2/2"])
    assert last.exit_code == 0 and "2 of 2 images" in last.stdout
    anew = CliRunner().invoke(main, [*common, "--shard", "1/2", "--overwrite"])
    assert anew.exit_code == 1 and "do not go together" in anew.stderr
    wrong = CliRunner().invoke(main, [*common, "--shard", "3/2"])
    assert wrong.exit_code == 2 and "I/N" in wrong.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"engine": "rya"}, "unknown engine 'rya'; did you mean 'ray'"),
        ({"engine": "ray", "shard": "1/2"}, "leave --shard out"),
        ({"engine": "shards"}, "--shard 3/16"),
        ({"address": "auto"}, "--address has no effect here"),
        ({"shard": "1/2", "gpus_per_worker": 1}, "--gpus-per-worker has no effect here"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, told):
    with pytest.raises(InputError, match=told):
        make_engine(EngineSettings(**settings))
