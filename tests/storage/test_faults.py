"""What goes wrong with a store is one line that says what to do, and loses nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from t2i_spatial import patience
from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError, MissingDependencyError, T2ISpatialError
from t2i_spatial.files import atomic_write, explain, scan_table, write_table
from t2i_spatial.images import ImageUnreadableError, read_image
from t2i_spatial.locations import is_remote, locate
from t2i_spatial.patience import StoreError
from t2i_spatial.run import Run
from t2i_spatial.stages.config import PipelineSettings
from t2i_spatial.stages.finetune import finetune_folder
from t2i_spatial.stages.pipeline import check_pipeline
from t2i_spatial.training.hyperparameters import FinetuneSettings
from tests.storage.chain import scored


def line_of(*arguments: str) -> str:
    """What a command that fails says: one line, no traceback, exit code 1 or 2."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code in (1, 2), result.output
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    said = result.output.strip().splitlines()[-1]
    assert said.lower().startswith("error:")
    return said


def refusing(method: str, part: str, status: int, code: bytes, message: bytes = b"no"):
    """A store that answers requests of one method about some names by an error."""
    return lambda m, path: (status, code, message) if m == method and part in path else None


def test_a_store_that_is_full_says_so_and_keeps_what_there_is(url, faults):
    run = scored(f"{url}/run")
    before = run.summary()
    for status, code in ((507, b"InsufficientStorage"), (403, b"QuotaExceeded")):
        faults.refuse = refusing("PUT", "verdicts/spatial", status, code)
        with pytest.raises(StoreError, match=r"the store is full .* goes on when there is space"):
            scored(f"{url}/run")
    faults.reset()
    assert "s3://" in line_of("report", f"{url}/run")  # begun, not finished: refused, not wrong
    assert scored(f"{url}/run").summary() == before


def test_a_writer_that_is_killed_between_table_and_manifest_leaves_a_run_that_goes_on(
    url, faults, monkeypatch
):
    class Killed(BaseException):
        pass

    def killed(*_args, **_kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Run, "finish", killed)
        with pytest.raises(Killed):
            scored(f"{url}/run")
    half = Run.open(f"{url}/run")
    assert half.has("detections/main.parquet")
    with pytest.raises(InputError, match="'detect' was begun and is not finished"):
        half.detections()
    whole, fresh = scored(f"{url}/run"), scored(f"{url}/other")
    assert whole.verdicts().equals(fresh.verdicts())
    assert whole.summary() == fresh.summary()


def test_no_write_permission_is_said_and_nothing_is_written(url, faults):
    faults.refuse = lambda method, _: (403, b"AccessDenied", b"no") if method == "PUT" else None
    with pytest.raises(StoreError, match=r"AccessDenied.*need read permission.*write permission"):
        Run.create(f"{url}/run")
    faults.reset()
    assert not locate(f"{url}/run").exists()


def test_a_bucket_that_is_not_there_is_named():
    with pytest.raises(StoreError, match="there is no bucket 'nowhere'; make it"):
        Run.create("s3://nowhere/run")
    assert "does not exist" in line_of("score", "s3://nowhere/run")


def test_a_store_that_does_not_answer_is_waited_for_then_named(url, faults, monkeypatch, capsys):
    monkeypatch.setattr(patience, "PATIENCE", 0.3)
    monkeypatch.setattr(patience, "SILENT", 0.0)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    faults.refuse = refusing("GET", "run.json", 503, b"SlowDown", b"Please reduce your rate")
    Run.create(f"{url}/run")
    with pytest.raises(StoreError, match=r"has not answered for .* the same command goes on"):
        Run.open(f"{url}/run")
    assert f"waiting for {url}/run/run.json (SlowDown" in capsys.readouterr().err


def test_a_picture_behind_a_store_that_does_not_answer_is_not_called_unreadable(
    url, faults, monkeypatch
):
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    faults.refuse = refusing("GET", "cat.png", 500, b"InternalError")
    locate(f"{url}/cat.png").write_bytes(b"anything")
    with pytest.raises(StoreError, match="InternalError"):
        read_image(f"{url}/cat.png")


def test_no_credentials(monkeypatch, url):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3fs.S3FileSystem.clear_instance_cache()
    said = line_of("generate", "sr2d", "-o", f"{url}/run")
    assert "no credentials for this store; set AWS_ACCESS_KEY_ID" in said
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_kind_of_store_that_nobody_knows(tmp_path):
    said = line_of("score", "s4://bucket/run")
    assert "no kind of store is called 's4'; known: s3, gs, az, hf" in said


def test_the_extra_and_the_package_of_a_store_are_named_when_they_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingDependencyError, match="pip install gcsfs"):
        locate("gs://bucket/run")
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 't2i-spatial\[storage\]'"):
        locate("s3://bucket/run")


def test_stores_that_are_only_read_are_not_written():
    place = locate("hf://datasets/someone/set/run")
    assert is_remote(place)
    with pytest.raises(InputError, match="hf:// is read, not written"):
        Run.create(place)


def test_what_must_be_on_this_machine_is_refused_with_what_to_do(url):
    assert "must be on this machine" in line_of("improve", "-o", f"{url}/improved")
    said = line_of("finetune", f"{url}/run", "-o", f"{url}/lora")
    assert "must be on this machine" in said


def test_a_store_that_refuses_polars_is_one_line(url, faults):
    place = locate(f"{url}/table.parquet")
    write_table(place, pl.DataFrame({"n": [1]}))
    faults.refuse = refusing("GET", "table.parquet", 403, b"AccessDenied")
    with pytest.raises(PermissionError) as caught:
        scan_table(place).collect()
    said = explain(caught.value)
    assert said is not None
    assert "AccessDenied" in said
    assert "\n" not in said


def test_a_table_of_a_run_opens_no_connection_to_where_it_likes(url, tmp_path):
    for folder in (tmp_path / "run", locate(f"{url}/run")):
        run = Run.create(folder)
        for entry in ("http://127.0.0.1:1/a.png", "ftp://elsewhere/a.png", "s3://a::http://b/c"):
            assert not is_remote(run.image_path(entry))
            with pytest.raises(ImageUnreadableError, match="no such file"):
                read_image(run.image_path(entry))
        assert str(run.image_path("s3://bucket/a.png")) == "s3://bucket/a.png"
        assert run.image_path("/data/a.png") == Path("/data/a.png")


def test_a_lora_is_trained_here_on_a_set_of_a_store(url):
    settings = FinetuneSettings(steps=1)
    with pytest.raises(InputError, match="say with --output where that of s3://"):
        finetune_folder(f"{url}/run", None, settings)
    Run.create(f"{url}/run")
    with pytest.raises(InputError, match="has no curated/ yet"):
        finetune_folder(f"{url}/run", Path("lora"), settings)
    with pytest.raises(InputError, match="leave the section finetune out"):
        sections = {"output": f"{url}/run", "finetune": {}, "curate": {}}
        check_pipeline(PipelineSettings.model_validate(sections))


def test_an_error_within_a_written_file_leaves_the_old_one(url):
    place = locate(f"{url}/table.parquet")
    write_table(place, pl.DataFrame({"n": [1]}))
    before = place.read_bytes()
    with pytest.raises(T2ISpatialError), atomic_write(place) as file:
        file.write(b"half")
        raise T2ISpatialError("broken")
    assert place.read_bytes() == before
