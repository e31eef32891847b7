from __future__ import annotations

import shutil
import subprocess
import sys

import polars as pl
import pytest
from filelock import FileLock

from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.run import LOCK, Run
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import DETECTIONS, PROMPTS, prompts_to_table


def test_a_run_reopens_with_what_was_recorded(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("generate", {"model": "bundled", "seed": 3}, record={"device": "cpu"})
    run.finish("generate", images=12)
    again = Run.open(tmp_path / "run")
    assert again.plan("generate") == {"model": "bundled", "seed": 3}
    assert again.is_finished("generate")
    assert again.manifest["stages"]["generate"]["results"] == {"images": 12}


def test_another_plan_is_refused_and_every_difference_named(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("generate", {"seed": 0, "steps": 16, "model": "a"})
    with pytest.raises(PlanMismatchError) as error:
        run.begin("generate", {"seed": 1, "steps": 16, "lora": "x"})
    text = str(error.value)
    assert "seed: 0 there, 1 now" in text
    assert "model: 'a' there, None now" in text
    assert "lora: None there, 'x' now" in text
    assert "steps" not in text
    assert Run.open(run.path).plan("generate")["seed"] == 0


def test_overwrite_forgets_the_shards_of_the_old_plan(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("detect", {"threshold": 0.1})
    run.shards("detect").write(0, pl.DataFrame({"a": [1]}))
    run.begin("detect", {"threshold": 0.2}, overwrite=True)
    assert run.shards("detect").finished() == set()


def test_finish_drops_shards_and_the_same_plan_may_begin_again(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("detect", {"threshold": 0.1})
    run.shards("detect").write(7, pl.DataFrame({"a": [1]}))
    assert run.shards("detect").finished() == {7}
    run.finish("detect")
    assert run.shards("detect").finished() == set()
    run.begin("detect", {"threshold": 0.1})
    assert run.is_finished("detect")


def test_killed_between_the_new_plan_and_the_old_shards_nothing_is_mixed(tmp_path, monkeypatch):
    """Whichever of the two a kill leaves undone, batches of the old plan are not taken."""
    for kill_at in ("rmtree", "save"):
        run = Run.create(tmp_path / kill_at)
        run.begin("detect", {"threshold": 0.1})
        run.shards("detect").write(0, pl.DataFrame({"a": [1]}))
        with monkeypatch.context() as patch:
            if kill_at == "rmtree":
                patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed before it worked
                run.begin("detect", {"threshold": 0.2}, overwrite=True)
            else:
                patch.setattr(Run, "_save", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
                with pytest.raises(KeyboardInterrupt):
                    run.begin("detect", {"threshold": 0.2}, overwrite=True)
        again = Run.open(run.path)
        assert again.shards("detect").finished() == set()
        again.begin("detect", {"threshold": 0.2}, overwrite=True)
        assert again.shards("detect").finished() == set()


def test_a_finished_stage_keeps_its_record_and_a_resumed_one_both(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("detect", {"threshold": 0.1}, record={"torch": "1", "canary": "passed"})
    run.begin("detect", {"threshold": 0.1}, record={"torch": "2"})
    stage = run.manifest["stages"]["detect"]
    assert stage["record"] == {"torch": "2"}
    assert stage["earlier"] == [{"torch": "1", "canary": "passed"}]
    run.finish("detect")
    before = run.path.joinpath("run.json").read_bytes()
    run.begin("detect", {"threshold": 0.1}, record={"torch": "3"})
    assert run.path.joinpath("run.json").read_bytes() == before


def test_what_is_begun_and_not_finished_cannot_be_read(tmp_path):
    run = Run.create(tmp_path / "run")
    run.write_detections(pl.DataFrame(schema=DETECTIONS))
    assert len(run.detections()) == 0  # brought from outside
    run.begin("detect", {})
    with pytest.raises(InputError, match="'detect' was begun and is not finished"):
        run.detections()
    run.finish("detect")
    assert len(run.detections()) == 0
    run.reopen("detect")
    with pytest.raises(InputError, match="'detect' was begun"):
        run.detections()
    run.begin("score", {})
    for read in (run.verdicts, run.summary):
        with pytest.raises(InputError, match="'score' was begun"):
            read()


def test_only_one_writes_at_a_time(tmp_path):
    run = Run.create(tmp_path / "run")
    with (
        FileLock(run.path / LOCK),
        pytest.raises(InputError, match="another t2i-spatial command is writing"),
        run.writing(),
    ):
        pytest.fail("two at once")
    with run.writing(), Run.open(run.path).writing():  # a stage that calls another one
        pass


def test_a_writer_keeps_what_others_recorded_since_it_opened_the_run(tmp_path):
    ours, theirs = Run.create(tmp_path / "run"), Run.open(tmp_path / "run")
    for run, stage in ((theirs, "detect-b"), (ours, "detect-a")):
        with run.writing():
            run.begin(stage, {})
            run.finish(stage)
    assert {"detect-a", "detect-b"} <= {
        name for name, stage in Run.open(ours.path).manifest["stages"].items()
        if "finished" in stage
    }  # fmt: skip


def test_killed_in_its_first_write_a_run_can_be_made(tmp_path):
    killed = """
import os, sys
os.replace = os.link = lambda *_: os._exit(9)
from t2i_spatial.run import Run
Run.create(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", killed, str(tmp_path / "run")], check=False)
    assert done.returncode == 9
    assert [p.name for p in (tmp_path / "run").iterdir()] != []
    run = Run.create(tmp_path / "run")
    assert [p.name for p in run.path.iterdir()] == ["run.json"]


def test_a_shard_that_cannot_be_read_is_done_again(tmp_path, capsys):
    run = Run.create(tmp_path / "run")
    run.begin("detect", {})
    for number in range(3):
        run.shards("detect").write(number, pl.DataFrame({"a": [number]}))
    shard = next(run.path.glob(".shards/detect/*/00000001.parquet"))
    shard.write_bytes(shard.read_bytes()[:-9])
    assert run.shards("detect").drop_broken() == 1
    assert run.shards("detect").finished() == {0, 2}
    assert "1 finished batches cannot be read" in capsys.readouterr().err


def test_a_damaged_table_is_one_line(tmp_path):
    run = Run.create(tmp_path / "run")
    table = prompts_to_table([Prompt(str(k), "a cat") for k in range(9)])
    run.write_prompts(table)
    path = run.path / "prompts.parquet"
    content = path.read_bytes()
    for damaged in (b"", b"PAR1", content[:-20], content[:40] + bytes(60) + content[100:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"prompts\.parquet cannot be read") as error:
            run.prompts()
        assert len(str(error.value).splitlines()) == 1


def test_a_folder_that_is_no_run_is_not_touched(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(InputError, match="not a run directory"):
        Run.create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("content", ["{broken", '{"format": 99}'])
def test_a_broken_or_newer_manifest_is_named(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json"):
        Run.open(tmp_path)


def test_tables_are_read_back_in_their_schema(tmp_path):
    run = Run.create(tmp_path / "run")
    table = prompts_to_table([Prompt("1", "a cat")])
    run.write_prompts(table)
    assert run.prompts().equals(table)
    assert run.prompts().schema == PROMPTS
    with pytest.raises(InputError, match="unknown columns"):
        run.write_images(pl.DataFrame({"path": ["x"]}))
    with pytest.raises(InputError, match=r"no images\.parquet yet"):
        run.images()
