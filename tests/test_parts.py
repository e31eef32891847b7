"""A table as a file or as a folder of parts: the same rows, read whole, in batches, or scanned."""

from __future__ import annotations

import polars as pl
import pytest

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.files import LITTER, read_table
from t2i_spatial.locations import locate

TABLE = pl.DataFrame(
    {
        "prompt_id": [f"p{k // 4}" for k in range(50)],
        "sample": pl.Series([k % 4 for k in range(50)], dtype=pl.Int32),
        "found": [[k] * (k % 3) for k in range(50)],
    }
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(parts, "PART", 20)
    monkeypatch.setattr(parts, "BATCH", 7)


@pytest.mark.parametrize(("rows", "files"), [(0, 1), (20, 1), (21, 2), (50, 3)])
def test_long_tables_become_folders_that_are_read_as_files_are(tmp_path, rows, files):
    path = tmp_path / "table.parquet"
    parts.write(path, TABLE[:rows])
    assert path.is_dir() == (files > 1) and len(parts.part_files(path)) == files
    assert read_table(path).equals(TABLE[:rows])
    assert parts.count(path) == rows
    assert read_table(path, ["sample"]).equals(TABLE[:rows].select("sample"))
    if rows:
        batches = list(parts.batches(path, ["prompt_id", "found"]))
        assert [len(b) for b in batches[:-1]] == [7] * (len(batches) - 1)
        assert pl.concat(batches).equals(TABLE[:rows].drop("sample"))
        assert pl.read_parquet(path).equals(TABLE[:rows])  # as anybody would read it


def test_pieces_of_any_size_make_parts_of_one_size(tmp_path):
    with parts.writing(tmp_path / "t.parquet") as writer:
        for start, end in ((0, 1), (1, 1), (1, 45), (45, 50)):
            writer.add(TABLE[start:end])
    lengths = [len(pl.read_parquet(f)) for f in parts.part_files(tmp_path / "t.parquet")]
    assert lengths == [20, 20, 10]
    assert read_table(tmp_path / "t.parquet").equals(TABLE)


@pytest.mark.parametrize("before", [0, 5, 50])
@pytest.mark.parametrize("after", [5, 50])
def test_a_table_takes_the_place_of_another_one(tmp_path, before, after):
    path = tmp_path / "table.parquet"
    if before:
        parts.write(path, TABLE[:before].reverse())
    parts.write(path, TABLE[:after])
    assert read_table(path).equals(TABLE[:after])
    assert [p.name for p in tmp_path.iterdir()] == ["table.parquet"]


def test_what_is_not_finished_is_not_seen_and_does_not_stay(tmp_path):
    path = tmp_path / "table.parquet"
    parts.write(path, TABLE[:3])
    with pytest.raises(KeyboardInterrupt), parts.writing(path) as writer:
        writer.add(TABLE)
        raise KeyboardInterrupt
    assert read_table(path).equals(TABLE[:3])
    assert [p.name for p in tmp_path.iterdir()] == ["table.parquet"]
    killed = parts.Writer(path)
    killed.add(TABLE)
    assert any(p.name.endswith(LITTER) for p in tmp_path.iterdir())
    parts.write(path, TABLE)
    assert read_table(path).equals(TABLE)
    assert [p.name for p in tmp_path.iterdir()] == ["table.parquet"]


def test_a_table_without_rows_has_columns_and_one_without_pieces_is_refused(tmp_path):
    with parts.writing(tmp_path / "t.parquet") as writer:
        writer.add(TABLE[:0])
    assert read_table(tmp_path / "t.parquet").schema == TABLE.schema
    with pytest.raises(InputError, match="no columns"), parts.writing(tmp_path / "u.parquet"):
        pass


def test_equal_keys_come_together_and_every_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "BUCKET", 12)
    shuffled = TABLE.sample(len(TABLE), shuffle=True, seed=1)
    parts.write(tmp_path / "a.parquet", TABLE)
    parts.write(tmp_path / "b.parquet", shuffled)
    tables = [parts.scan(tmp_path / f"{name}.parquet") for name in "ab"]
    seen = list(parts.buckets(tables, "prompt_id", len(TABLE)))
    assert len(seen) == 5
    for a, b in seen:
        assert a.sort("prompt_id", "sample").equals(b.sort("prompt_id", "sample"))
    assert (
        pl.concat([a for a, _ in seen])
        .sort("prompt_id", "sample")
        .equals(TABLE.sort("prompt_id", "sample"))
    )
    assert not parts.same_order([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert parts.same_order([tmp_path / "a.parquet", tmp_path / "a.parquet"])


def test_another_table_has_another_fingerprint(tmp_path):
    path = tmp_path / "table.parquet"
    assert parts.fingerprint(path) is None
    found = set()
    for table in (TABLE[:5], TABLE, TABLE.reverse()):
        parts.write(path, table)
        found.add(parts.fingerprint(path))
    assert len(found) == 3
    before = parts.stamp(path)
    (path / "000001.parquet").unlink()
    assert parts.stamp(path) != before


def test_damaged_and_missing_tables_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no such file: .*none\.parquet"):
        parts.scan(tmp_path / "none.parquet")
    (tmp_path / "empty.parquet").mkdir()
    with pytest.raises(InputError, match=r"no such file: .*empty\.parquet"):
        parts.count(tmp_path / "empty.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"bad\.parquet cannot be read as Parquet"):
        next(parts.batches(tmp_path / "bad.parquet"))
    parts.write(tmp_path / "t.parquet", TABLE)
    with pytest.raises(InputError, match="has no columns"):
        parts.scan(tmp_path / "t.parquet", ["other"])


def test_a_store_holds_parts_as_a_folder_does():
    pytest.importorskip("upath")
    path = locate("memory://parts/table.parquet")
    for rows in (50, 5, 45, 50, 3):
        parts.write(path, TABLE[:rows])
        assert len(parts.part_files(path)) == -(-rows // 20)
        assert read_table(path).equals(TABLE[:rows])
        assert pl.concat(parts.batches(path)).equals(TABLE[:rows])
        assert parts.fingerprint(path) != parts.fingerprint(path.with_name("other"))
    parts.remove(path)
    assert not path.exists()
