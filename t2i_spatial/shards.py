"""The finished batches of a stage: one Parquet file each, named by the number of the batch."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import read_table, remove_tree, scan_tables, sink_table, write_table
from t2i_spatial.locations import for_each
from t2i_spatial.progress import note

FOLDER = ".shards"
"""Where a run keeps them: `.shards/<stage>/<plan>/`."""
PIECES = "pieces"


@dataclass(frozen=True)
class Shards:
    """The shards of one stage under one plan; picklable, so that a worker writes its own.

    >>> shards = Shards(getfixture("tmp_path") / "detect")
    >>> shards.write(3, pl.DataFrame({"n": [1, 2]}))
    True
    >>> shards.finished()
    {3}
    >>> shards.write(3, pl.DataFrame({"n": [2, 2]})), shards.read(3)["n"].to_list()
    (False, [1, 2])
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

    def write(self, number: int, table: pl.DataFrame) -> bool:
        """Write the rows of one finished batch, unless somebody else has.

        A worker that was taken for dead may come back late: what is there stays.

        Returns:
            Whether these rows are there now; `False` when others stand there and were kept.
        """
        path = self.path(number)
        try:
            write_table(path, table, replace=False)
        except FileExistsError:
            try:
                return read_table(path).equals(table)
            except InputError:  # damaged: nothing to keep
                write_table(path, table)
        return True

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
        return pl.concat(for_each(read_table, paths)).select(list(schema))

    def drop(self, number: int) -> None:
        """Forget one finished batch, so that it is done again."""
        self.path(number).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Forget all finished batches, once their rows stand elsewhere."""
        remove_tree(self.folder)

    def drop_broken(self) -> int:
        """Forget finished batches whose file cannot be read; returns how many there were."""
        paths = self.paths()
        sound = for_each(_can_be_read, paths)
        broken = sound.count(False)
        for path, is_sound in zip(paths, sound, strict=True):
            if not is_sound:
                path.unlink(missing_ok=True)
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
        with contextlib.suppress(OSError):  # another plan's are there
            self.folder.parent.rmdir()

    # -- pieces of a batch that killed its workers --------------------------------------------

    def pieces(self, number: int) -> Shards:
        """The finished pieces of one batch, each named by the place of its first item."""
        return Shards(self.folder / PIECES / f"{number:08d}")

    def gather(self, number: int) -> None:
        """Make the shard of a batch of its pieces."""
        pieces = self.pieces(number)
        self.write(number, pl.concat([read_table(path) for path in pieces.paths()]))
        pieces.drop_all()

    def drop_pieces(self, numbers: Collection[int]) -> None:
        """Forget the pieces of these batches."""
        for folder in (self.folder / PIECES).glob("*"):
            if int(folder.name) in numbers:
                remove_tree(folder)


def _can_be_read(path: Path) -> bool:
    try:
        read_table(path)
    except InputError:
        return False
    return True
