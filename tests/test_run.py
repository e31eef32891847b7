from __future__ import annotations

import errno
import json
import os

import polars as pl
import pytest

from t2i_spatial.errors import InputError, PlanMismatchError, T2ISpatialError
from t2i_spatial.run import Run, atomic_write, write_json
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import PROMPTS, prompts_to_table


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
    run.write_shard("detect", 0, pl.DataFrame({"a": [1]}))
    run.begin("detect", {"threshold": 0.2}, overwrite=True)
    assert run.finished_shards("detect") == set()


def test_finish_drops_shards_and_the_same_plan_may_begin_again(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("detect", {"threshold": 0.1})
    run.write_shard("detect", 7, pl.DataFrame({"a": [1]}))
    assert run.finished_shards("detect") == {7}
    run.finish("detect")
    assert run.finished_shards("detect") == set()
    run.begin("detect", {"threshold": 0.1})
    assert run.is_finished("detect")


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


def test_a_failed_write_keeps_the_old_file_and_leaves_no_litter(tmp_path):
    target = tmp_path / "summary.json"
    write_json(target, {"ok": 1})
    with pytest.raises(RuntimeError), atomic_write(target, "w") as file:
        file.write("half")
        raise RuntimeError
    assert json.loads(target.read_text()) == {"ok": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(T2ISpatialError, match="No space left on device"):
        write_json(tmp_path / "summary.json", {})
    assert list(tmp_path.iterdir()) == []


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
