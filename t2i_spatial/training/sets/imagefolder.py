"""A folder of images with `metadata.jsonl`, `.csv` or `.parquet`, as `datasets` names them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.training.data import Example
from t2i_spatial.training.sets.records import checked, example, parse_json, read_lines

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


def find_metadata(folder: Path) -> Path | None:
    """`FOLDER/train/metadata.*` or `FOLDER/metadata.*`."""
    places = (folder / "train" / name for name in NAMES)
    return next(
        (path for path in (*places, *(folder / n for n in NAMES)) if path.is_file()),
        None,
    )


def read_imagefolder(folder: str | Path, captions: Sequence[str] = ()) -> list[Example]:
    """The examples of `FOLDER/train/metadata.jsonl` (or `FOLDER/metadata.jsonl`; .csv, .parquet).

    Each record has `file_name` relative to the file, `text`, and optionally `weight` (>= 0) and
    `objects` for the attention losses: a list of `{"phrase": ..., "box": [x1, y1, x2, y2]}` in
    pixels of the image, or `{"phrase": ..., "mask": FILE}` with FILE relative to the folder. Images
    of weight 0 are left out; the other weights are divided by their mean, so that they change which
    images matter and not the step size.

    Args:
        captions: names of the columns that hold captions.

    Raises:
        InputError: no metadata, a broken line (says which), missing images (says how many), names
            that lead outside the folder, or fewer than 4 examples of weight above 0. Links in the
            folder are followed: a hub's cache consists of them.
    """
    folder = Path(folder)
    metadata = find_metadata(folder)
    if metadata is None:
        raise InputError(
            f"{folder} has no train/metadata.jsonl; `t2i-spatial curate --export imagefolder` "
            "writes one"
        )
    return read_metadata(metadata, captions)


def read_metadata(metadata: Path, captions: Sequence[str] = ()) -> list[Example]:
    """The examples of a metadata file; see `read_imagefolder`."""
    made = [
        example(metadata.parent, record, where, captions) for record, where in _records(metadata)
    ]
    return checked(made, metadata)


def _records(metadata: Path) -> Iterator[tuple[Any, str]]:
    if metadata.suffix == ".parquet":
        try:
            table = pl.read_parquet(metadata)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{metadata} cannot be read: {str(error).splitlines()[0]}") from None
        for number, row in enumerate(table.iter_rows(named=True), 1):
            yield row, f"{metadata}, row {number}"
        return
    lines = read_lines(metadata)
    if metadata.suffix == ".csv":
        reader = csv.DictReader(io.StringIO("\n".join(lines), newline=""))
        try:
            for row in reader:
                yield row, f"{metadata}, line {reader.line_num}"
        except csv.Error as error:
            raise InputError(f"{metadata}, line {reader.line_num}: {error}") from None
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{metadata}, line {number}"
            yield parse_json(line, where), where
