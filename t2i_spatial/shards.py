"""The finished batches of a stage: one Parquet file each, named by the number of the batch."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import read_table, remove_tree, scan_tables, sink_table, write_table
from t2i_spatial.progress import note

FOLDER = ".shards"
"""Where a run keeps them: `.shards/<stage>/<plan>/`."""


@dataclass(frozen=True)
class Shards:
    """The shards of one stage under one plan; picklable, so that a worker writes its own.

    >>> shards = Shards(getfixture("tmp_path") / "detect")
    >>> shards.write(3, pl.DataFrame({"n": [1, 2]}))
    >>> shards.finished()
    {3}
    """

    folder: Path

    def path(self, number: int) -> Path:
        """The file of one batch."""
        return self.folder / f"{number:08d}.parquet"

    def paths(self) -> list[Path]:
        """The files of all finished batches, in batch order."""
        return sorted(self.folder.glob("*.parquet"))

    def finished(self) -> set[int]:
        """Numbers of the batches that are done."""
        return {int(path.stem) for path in self.paths()}

    def write(self, number: int, table: pl.DataFrame) -> None:
        """Write the rows of one finished batch."""
        write_table(self.path(number), table)

    def read(self, number: int) -> pl.DataFrame:
        """The rows of one finished batch.

        Raises:
            InputError: it is not finished, or its file is damaged.
        """
        return read_table(self.path(number))

    def read_all(self, schema: pl.Schema) -> pl.DataFrame:
        """All rows of the finished batches in batch order, those columns of them."""
        paths = self.paths()
        if not paths:
            return pl.DataFrame(schema=schema)
        return pl.concat([read_table(path) for path in paths]).select(list(schema))

    def drop(self, number: int) -> None:
        """Forget one finished batch, so that it is done again."""
        self.path(number).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Forget all finished batches, once their rows stand elsewhere."""
        remove_tree(self.folder)
        with contextlib.suppress(OSError):  # another plan's are there
            self.folder.parent.rmdir()

    def drop_broken(self) -> int:
        """Forget finished batches whose file cannot be read; returns how many there were."""
        broken = 0
        for number in sorted(self.finished()):
            try:
                self.read(number)
            except InputError:
                self.drop(number)
                broken += 1
        if broken:
            stage = self.folder.parent.name
            note(f"{stage}: {broken} finished batches cannot be read and are done again")
        return broken

    def join(self, target: Path) -> None:
        """Make one Parquet file of them all, without loading them all, and drop them.

        Raises:
            T2ISpatialError: the file cannot be written.
        """
        sink_table(scan_tables(self.paths()), target)
        self.drop_all()
