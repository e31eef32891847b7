from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading

import polars as pl
import pytest

from t2i_spatial import files
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.files import LITTER, atomic_write, explain, read_json, read_json_lines, write_json


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


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "far" / "real.json")
    for content in ({"first": 1}, {"second": 2}):
        write_json(tmp_path / "link.json", content)
        assert (tmp_path / "link.json").is_symlink()
        assert json.loads((tmp_path / "far" / "real.json").read_text()) == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["far", "link.json"]


def test_a_pipe_is_written_through_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_json(pipe, {"a": 1})
    reader.join()
    assert json.loads(got[0]) == {"a": 1}
    assert pipe.is_fifo()


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_dash_is_stdout(tmp_path, monkeypatch, capfdbinary, mode):
    monkeypatch.chdir(tmp_path)
    with atomic_write("-", mode) as file:
        file.write("word" if mode == "w" else b"word")
    assert capfdbinary.readouterr().out == b"word"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_at_the_next_start_and_nothing_else(tmp_path, monkeypatch):
    killed = """
import os, sys
from t2i_spatial.files import atomic_write
with atomic_write(sys.argv[1], "w") as file:
    file.write("half")
    file.flush()
    os._exit(9)
"""
    target = tmp_path / "table.json"
    done = subprocess.run([sys.executable, "-c", killed, str(target)], check=False)
    assert done.returncode == 9
    assert [p.name.endswith(LITTER) for p in tmp_path.iterdir()] == [True]
    (tmp_path / ".theirs.tmp").write_text("of another program")
    with atomic_write(tmp_path / "slow.json", "w") as file:  # one that is still being written
        file.write("{}")
        assert not list(tmp_path.glob(".table*"))
        monkeypatch.setattr(files, "_swept", set())  # as another process would
        write_json(target, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".theirs.tmp", "slow.json", "table.json"]


def test_text_that_is_not_unicode_is_one_line(tmp_path):
    with pytest.raises(T2ISpatialError, match="not Unicode"):
        write_json(tmp_path / "x.json", {"prompt": "half a surrogate: \ud800"})
    assert list(tmp_path.iterdir()) == []


def test_reading_says_what_is_wrong_and_where(tmp_path):
    path = tmp_path / "x.jsonl"
    for read in (read_json, read_json_lines):
        with pytest.raises(InputError, match="no such file"):
            read(path)
    path.write_text('{"a": 1}\n\n{"b": "\u2028"}\n', "utf-8")
    assert read_json_lines(path) == [{"a": 1}, {"b": "\u2028"}]
    path.write_text('{"a": 1}\n{broken\n')
    with pytest.raises(InputError, match="line 2: not JSON"):
        read_json_lines(path)
    path.write_text('{"a": 1}\n[1]\n')
    with pytest.raises(InputError, match="line 2: expected a JSON object"):
        read_json_lines(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(path)


def test_a_table_damaged_anywhere_is_explained_in_one_line(tmp_path):
    """Whichever part of a file is broken: where polars raises at all, the line says so."""
    path = tmp_path / "x.parquet"
    pl.DataFrame({"a": range(999), "b": [[str(k)] for k in range(999)]}).write_parquet(path)
    content = path.read_bytes()
    raised = 0
    for start in range(0, len(content), 97):
        path.write_bytes(content[:start] + bytes(80) + content[start + 80 :])
        try:
            pl.scan_parquet(path).select(pl.col("a").sum(), pl.col("b").len()).collect()
        except BaseException as error:  # noqa: BLE001 - panics of the library, too
            raised += 1
            assert len((explain(error) or "").splitlines()) == 1, repr(error)
    assert raised > 5


def test_a_full_disk_is_explained_and_a_bug_is_not():
    said = explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "images/0.png"))
    assert said is not None and said.startswith("images/0.png: No space left on device")
    assert explain(KeyError("x")) is None
    assert explain(FileNotFoundError(errno.ENOENT, "no")) is None
