"""A table as one Parquet file or, when it is large, as a folder of part files of the same name.

`images.parquet` of a run of a million images is a folder with `000000.parquet`, `000001.parquet`
and so on, whose rows follow each other. Every stage reads both through this module; polars, pandas,
pyarrow and DuckDB read such a folder as one table, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.files import LITTER, remove_tree, scan_tables, write_table
from t2i_spatial.locations import is_remote
from t2i_spatial.tables import KEY

BATCH = 131_072
"""Rows that a stage looks at together."""
PART = 2 * BATCH
"""Most rows of a file, a row group as polars writes them; a longer table becomes a folder."""
BUCKET = 5_000_000
"""Rows of a few columns that are put into order in memory, where two tables have another one."""


# -- reading ---------------------------------------------------------------------------------------


def part_files(path: Path) -> list[Path]:
    """The files of a table in the order of its rows; itself, when it is a file."""
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def scan(path: Path, columns: Sequence[str] | None = None) -> pl.LazyFrame:
    """A table that is read when it is collected.

    Raises:
        InputError: no such table, not Parquet, or columns that it does not have.
    """
    if not path.exists() or not (files := part_files(path)):
        raise InputError(f"no such file: {path}")
    try:
        table = scan_tables(files)
        missing = set(columns or ()) - set(table.collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} cannot be read as Parquet: {said}") from None
    if missing:
        raise InputError(f"{path} has no columns {sorted(missing)}")
    return table if columns is None else table.select(columns)


def count(path: Path) -> int:
    """The number of rows, from the heads of the files.

    Raises:
        InputError: as `scan`.
    """
    return int(scan(path).select(pl.len()).collect().item())


def batches(
    path: Path, columns: Sequence[str] | None = None, size: int | None = None
) -> Iterator[pl.DataFrame]:
    """The rows of a table in order, `size` (`BATCH`) at a time, so that memory does not grow.

    Raises:
        InputError: as `scan`.
    """
    size = size or BATCH
    table = scan(path, columns)
    for start in range(0, count(path), size):
        yield table.slice(start, size).collect()


def same_order(paths: Sequence[Path]) -> bool:
    """Whether tables have the same keys in the same order."""
    if len({count(path) for path in paths}) > 1:
        return False
    together = zip(*(batches(path, KEY) for path in paths), strict=True)
    return all(other.equals(first) for first, *others in together for other in others)


def buckets(
    tables: Sequence[pl.LazyFrame], by: str, rows: int
) -> Iterator[tuple[pl.DataFrame, ...]]:
    """Tables part by part, by a hash of a column: what is equal there comes together.

    Args:
        rows: of the longest table; no more than about `BUCKET` of it are in memory at a time.
    """
    number = max(1, -(-rows // BUCKET))
    for place in range(number):
        here = pl.col(by).hash() % number == place
        some = tables if number == 1 else [table.filter(here) for table in tables]
        yield tuple(table.collect(engine="streaming") for table in some)


def repeated(path: Path, key: Sequence[str]) -> tuple[Any, ...] | None:
    """The first key that is there twice, as far as one bucket is before another; else `None`."""
    rows = count(path)
    keys = scan(path, key)
    hashes = keys.select(pl.struct(key).hash().alias("key"))
    if all(some["key"].n_unique() == len(some) for (some,) in buckets([hashes], "key", rows)):
        return None
    for (some,) in buckets([keys], key[0], rows):  # other keys may have an equal hash
        if some.is_duplicated().any():
            return some.filter(some.is_duplicated()).row(0)
    return None


# -- writing ---------------------------------------------------------------------------------------


def write(path: Path, table: pl.DataFrame) -> None:
    """A table that is in memory, whole or not at all: as a file, or as a folder above `PART` rows.

    Raises:
        T2ISpatialError: the disk is full or not writable.
    """
    with writing(path) as writer:
        writer.add(table)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A table that is written piece by piece and appears when all is there, or not at all.

    Raises:
        T2ISpatialError: the disk is full or not writable.
    """
    writer = Writer(path)
    try:
        yield writer
        writer.publish()
    finally:
        writer.drop()


class Writer:
    """The pieces of a table on their way to `path`; see `writing`.

    For those who write several tables and let them appear together: `publish` or `drop` is theirs
    to call then. A store knows no folder that could be renamed: there the parts are kept on this
    machine and uploaded when all are known, by a stage that is not finished before they are there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: Path | None = None
        self._waiting: list[pl.DataFrame] = []
        self._files: list[Path] = []
        self._schema: pl.DataFrame | None = None

    def add(self, table: pl.DataFrame) -> None:
        """Further rows; the columns are those of the first piece."""
        self._schema = table.clear() if self._schema is None else self._schema
        self._waiting.append(table)
        while sum(map(len, self._waiting)) > PART:
            waiting = pl.concat(self._waiting)
            self._put(waiting[:PART])
            self._waiting = [waiting[PART:]]

    def publish(self) -> None:
        """Let the table appear in the place of an older one.

        Raises:
            InputError: nothing was added, not even a table without rows.
            T2ISpatialError: the disk or store is full or not writable.
        """
        if self._schema is None:
            raise InputError(f"{self._path}: no columns, as there are no rows")
        last = pl.concat([self._schema, *self._waiting])
        self._waiting = []
        if self._folder is None:
            if self._path.is_dir():
                remove(self._path)
            write_table(self._path, last)
            return
        if len(last):
            self._put(last)
        try:
            _replace(self._folder, self._files, self._path)
        except OSError as error:
            raise T2ISpatialError(
                f"cannot write {self._path}: {error.strerror or error}"
            ) from error

    def drop(self) -> None:
        """Forget what has been written and has not appeared."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
        self._waiting, self._files = [], []

    def _put(self, table: pl.DataFrame) -> None:
        if self._folder is None:
            self._folder = _scratch(self._path)
        self._files.append(self._folder / f"{len(self._files):06d}.parquet")
        write_table(self._files[-1], table)


def _scratch(path: Path) -> Path:
    """An empty folder for the parts of a table, beside it where folders can be renamed."""
    if is_remote(path):
        return Path(tempfile.mkdtemp(prefix=f"{path.name}.", suffix=LITTER))
    folder = path.with_name(f".{path.name}.parts{LITTER}")
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process left there
    return folder


def _replace(folder: Path, files: Sequence[Path], path: Path) -> None:
    if is_remote(path):
        path.unlink(missing_ok=True)
        path.remove_tree()
        for file in files:
            (path / file.name).upload(str(file))
        return
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if path.is_dir():
        os.replace(path, old)
    else:
        path.unlink(missing_ok=True)
    os.replace(folder, path)
    shutil.rmtree(old, ignore_errors=True)


def remove(path: Path) -> None:
    """Delete a table, if it is there."""
    if path.is_dir():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


# -- identity --------------------------------------------------------------------------------------


def stamp(path: Path) -> list[int]:
    """Bytes and time of change: a quick look at whether a table is another one."""
    stats = [file.stat() for file in part_files(path)]
    return [sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def fingerprint(path: Path) -> str | None:
    """SHA-256 of a file, or of those of its parts; `None` when there is none."""
    if not path.exists():
        return None
    if not path.is_dir():
        return _sha256(path)
    parts: Any = hashlib.sha256()
    for file in part_files(path):
        parts.update(f"{_sha256(file)}\n".encode())
    return str(parts.hexdigest())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
