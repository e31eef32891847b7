"""A pipeline of filters: every candidate in or out, with the first filter that refused it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import polars.selectors as cs

from t2i_spatial.curation.filter import Definition, Measure, make_filters
from t2i_spatial.curation.pixels import UNREADABLE, measure_images
from t2i_spatial.errors import InputError
from t2i_spatial.files import read_table
from t2i_spatial.locations import require_local
from t2i_spatial.tables import KEY, SELECTION

MEASURED_AT_ONCE = 100_000
"""Rows whose pixels are measured before the result is written: it may be 1 kB of each image."""

READABLE = "readable"
"""Name under which an image that cannot be decoded is refused."""


UNSAID = (READABLE, "scored", "upright", "declared_size")
"""Checks that are worth a word only when they refuse something."""


@dataclass(frozen=True)
class StageCount:
    """How many candidates a filter left; `refused` is how many it took out."""

    name: str
    adjective: str
    kept: int
    refused: int


@dataclass(frozen=True)
class Selection:
    """The result of a pipeline.

    Attributes:
        path: Parquet file in the SELECTION schema, one row per candidate in their order.
        candidates: how many there were.
        stages: one entry per filter, in order; `readable` appears where images were decoded.
    """

    path: Path
    candidates: int
    stages: tuple[StageCount, ...]

    @property
    def kept(self) -> int:
        """How many rows stayed."""
        return self.stages[-1].kept if self.stages else self.candidates

    def counts(self) -> str:
        """One line for a person.

        >>> stages = (StageCount("correct", "correct", 131, 109),)
        >>> Selection(Path("x"), 240, stages).counts()
        '240 candidates → 131 correct'
        """
        steps = [
            f"{s.kept:,} {s.adjective}" for s in self.stages if s.refused or s.name not in UNSAID
        ]
        return " → ".join([f"{self.candidates:,} candidates", *steps])

    def refusals(self) -> str:
        """What each filter removed, one line each."""
        lines = [f"  {s.name}: {s.refused:,} removed, {s.kept:,} left" for s in self.stages]
        return "\n".join([f"  {self.candidates:,} candidates", *lines])

    def frame(self) -> pl.DataFrame:
        """The SELECTION table."""
        return read_table(self.path)


def selection_digest(path: Path) -> str:
    """sha256 of a `selection.parquet`, which training sets carry as their origin."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def select(
    candidates: pl.LazyFrame,
    filters: Iterable[Definition],
    output: str | Path,
    *,
    caption: pl.Expr | None = None,
) -> Selection:
    """Run the filters in order and write the SELECTION table to `output`, streaming.

    Args:
        candidates: columns as in `curation.candidates`, each key once. Filters use only those
            columns that they name, so a table of one's own may have others, or fewer. NaN counts
            as no value.
        filters: objects, names or mappings, as for `make_filters`.
        caption: caption of the rows that stay; the column `text` by default, if there is one.

    A filter that looks at one row at a time costs no memory; one that compares rows (best of,
    balance, duplicates) holds its own columns of the survivors, and one that reads pixels opens
    the images of the survivors only.

    Raises:
        InputError: a wrong filter, or a filter that needs a column the candidates do not have.
    """
    made = make_filters(filters)
    output = require_local(output, "a selection", "copy it there afterwards")
    output.parent.mkdir(parents=True, exist_ok=True)
    frame = candidates.with_columns(
        cs.float().fill_nan(None),
        pl.lit(None, dtype=pl.String).alias("_filter"),
        pl.lit(None, dtype=pl.String).alias("_reason"),
        pl.lit(1.0).alias("_weight"),
    )
    stages: dict[str, str] = {}
    measured: list[Measure] = []
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".curate-") as scratch:
        try:
            for number, rule in enumerate(made):
                if any(m not in measured for m in rule.measures):
                    wanted = [m for other in made[number:] for m in other.measures]
                    new = list(dict.fromkeys(m for m in wanted if m not in measured))
                    measured += new
                    frame = _checkpoint(frame, Path(scratch) / f"{number}.parquet")
                    frame = _measure(frame, new, Path(scratch) / f"{number}-measured")
                    stages[READABLE] = "readable"
                extra = rule.prepare(frame.filter(pl.col("_filter").is_null()))
                if extra is not None:
                    frame = frame.join(extra, on=KEY, how="left", maintain_order="left")
                name = _unique(rule.name, stages)
                frame = _refuse(frame, name, rule.keep(), rule.reason())
                if (factor := rule.weight()) is not None:
                    frame = frame.with_columns((pl.col("_weight") * factor).alias("_weight"))
                stages[name] = rule.adjective
            if caption is None:
                has_text = "text" in frame.collect_schema().names()
                caption = pl.col("text") if has_text else pl.lit(None, dtype=pl.String)
            counts = _write(frame, output, caption, Path(scratch))
        except pl.exceptions.ColumnNotFoundError as error:
            column = str(error).split(";")[0].splitlines()[0]
            raise InputError(
                f"a filter needs a column that the candidates do not have ({column}); a table "
                "with more columns is given by --columns FILE"
            ) from None
        except pl.exceptions.PolarsError as error:
            first = str(error).splitlines()[0]
            raise InputError(f"the filters cannot be applied: {first}") from None
    total = left = sum(counts.values())
    done = []
    for name, adjective in stages.items():
        refused = counts.get(name, 0)
        left -= refused
        done.append(StageCount(name, adjective, left, refused))
    return Selection(output, total, tuple(done))


def _unique(name: str, taken: Mapping[str, str]) -> str:
    """A second use of a filter is counted on its own: "score", "score 2"."""
    number = 1
    unique = name
    while unique in taken:
        number += 1
        unique = f"{name} {number}"
    return unique


def _refuse(frame: pl.LazyFrame, name: str, keep: pl.Expr, reason: pl.Expr) -> pl.LazyFrame:
    refused = pl.col("_filter").is_null() & ~keep.fill_null(False)
    return frame.with_columns(
        pl.when(refused).then(pl.lit(name)).otherwise("_filter").alias("_filter"),
        pl.when(refused).then(reason).otherwise("_reason").alias("_reason"),
    )


def _measure(frame: pl.LazyFrame, measures: Sequence[Measure], folder: Path) -> pl.LazyFrame:
    """The frame with the columns of `measures`; what they hold of the images goes to `folder`."""
    folder.mkdir()
    total = frame.select(pl.len()).collect().item()
    for start in range(0, max(total, 1), MEASURED_AT_ONCE):
        part = frame.slice(start, MEASURED_AT_ONCE).collect()
        rows = part.filter(pl.col("_filter").is_null()).select(*KEY, "path")
        measured = measure_images(rows, measures)
        joined = part.join(measured, on=KEY, how="left", maintain_order="left")
        joined.write_parquet(folder / f"{start:012}.parquet")
    frame = pl.scan_parquet(folder / "*.parquet")
    unreadable = pl.col(UNREADABLE)
    return _refuse(frame, READABLE, unreadable.is_null(), unreadable)


def _checkpoint(frame: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    """What was computed so far, on disk, so that it is not computed again after a barrier."""
    frame.sink_parquet(path)
    return pl.scan_parquet(path)


def _write(
    frame: pl.LazyFrame, output: Path, caption: pl.Expr, scratch: Path
) -> dict[str | None, int]:
    kept = pl.col("_filter").is_null()
    columns = {
        "prompt_id": pl.col("prompt_id"),
        "sample": pl.col("sample"),
        "image": pl.col("image"),
        "kept": kept,
        "filter": pl.col("_filter"),
        "reason": pl.col("_reason"),
        "caption": pl.when(kept).then(caption),
        "weight": pl.when(kept).then("_weight"),
    }
    new = scratch / "selection.parquet"
    frame.select(
        columns[name].cast(dtype).alias(name) for name, dtype in SELECTION.items()
    ).sink_parquet(new, compression="zstd")
    new.replace(output)
    found = pl.scan_parquet(output).group_by("filter").agg(pl.len())
    return dict(found.collect(engine="streaming").iter_rows())
