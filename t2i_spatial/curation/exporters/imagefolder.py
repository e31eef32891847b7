"""`train/metadata.jsonl` and images: what `load_dataset("imagefolder")` and diffusers read."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.exporter import EXPORTERS, Exporter, placed_objects, write_images

COLUMNS = ("text", "prompt_id", "sample", "score", "margin", "weight", "mirrored")

TYPED_BY = 1000
"""So many rows decide on the types of columns; `datasets` looks at the first 10 MB."""


@EXPORTERS.register("imagefolder")
class ImageFolder(Exporter):
    """Images under `train/` with one JSON line each.

    The `train` folder and the name `metadata.jsonl` are what every version of `datasets` finds;
    no text files lie beside the images, because `datasets` would then read those instead. `objects`
    are the boxes of what the caption names, in pixels of the written image (for attention losses).
    `datasets` finds out the type of a column from the first rows, so one that is empty there and
    not later (margins of two kinds of candidates) is left out.
    """

    @override
    def write(self, rows: pl.DataFrame, folder: Path, *, resolution: int | None) -> None:
        train = folder / "train"
        train.mkdir()
        names = write_images(rows, train, resolution=resolution)
        with (train / "metadata.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            first = rows[:TYPED_BY]
            columns = [
                column
                for column in COLUMNS
                if first[column].null_count() < len(first) or not rows[column].count()
            ]
            for name, row in zip(names, rows.iter_rows(named=True), strict=True):
                line = {"file_name": name} | {column: row[column] for column in columns}
                line["objects"] = placed_objects(row, resolution)
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
