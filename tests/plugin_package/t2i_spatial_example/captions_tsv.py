"""A training set as a folder of images and a table of captions."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from t2i_spatial.curation.exporter import Exporter, write_images


class CaptionsTsv(Exporter):
    """`images/000001.png` … and `captions.tsv` with the columns `file` and `caption`."""

    def write(self, rows: pl.DataFrame, folder: Path, *, resolution: int | None) -> None:
        (folder / "images").mkdir()
        names = write_images(rows, folder / "images", resolution=resolution)
        table = pl.DataFrame({"file": names, "caption": rows["text"]})
        table.write_csv(folder / "captions.tsv", separator="\t")
