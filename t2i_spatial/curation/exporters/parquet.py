"""Parquet with image bytes and a data card: what the hub and `load_dataset` read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.card import write_card
from t2i_spatial.curation.exporter import EXPORTERS, Exporter, write_image
from t2i_spatial.progress import progress_bar

ROWS_PER_FILE = 1000
COLUMNS: dict[str, tuple[str | None, str]] = {
    "image": ("image", "RGB image"),
    "text": ("string", "caption"),
    "prompt_id": ("string", "where the image comes from, with `sample`"),
    "sample": ("int32", "number of the image among those of its prompt"),
    "score": ("float64", "lowest detector score of the boxes the verdict used"),
    "margin": ("float64", "distance from the other verdict"),
    "weight": ("float64", "training weight"),
    "mirrored": ("bool", "mirrored copy, with a caption to match"),
}


@EXPORTERS.register("parquet")
class HuggingFaceParquet(Exporter):
    """`data/train-00000-of-00002.parquet` and `README.md`.

    The image column is a struct of bytes and file name; the card says that it is an image, so
    that `load_dataset(FOLDER)` decodes it, here and on the hub, and has the name of the content, so
    that a set made anew is not taken for the old one. One file holds at most
    `ROWS_PER_FILE` images, which bounds the memory that writing takes.
    """

    @override
    def write(self, rows: pl.DataFrame, folder: Path, *, resolution: int | None) -> None:
        data = folder / "data"
        data.mkdir()
        parts = [rows[k : k + ROWS_PER_FILE] for k in range(0, len(rows), ROWS_PER_FILE)]
        number = 0
        with progress_bar(len(rows), "export") as bar, tempfile.TemporaryDirectory() as scratch:
            for index, part in enumerate(parts):
                images: list[dict[str, Any]] = []
                for row in part.iter_rows(named=True):
                    number += 1
                    name = write_image(row, Path(scratch) / f"{number:06}", resolution=resolution)
                    file = Path(scratch) / name
                    images.append({"bytes": file.read_bytes(), "path": name})
                    file.unlink()
                    bar.update(1)
                column = pl.Series(
                    "image", images, dtype=pl.Struct({"bytes": pl.Binary, "path": pl.String})
                )
                part.select(column, *list(COLUMNS)[1:]).write_parquet(
                    data / f"train-{index:05}-of-{len(parts):05}.parquet",
                    row_group_size=100,
                )
        write_card(folder, rows, "data/train-*.parquet", COLUMNS)
