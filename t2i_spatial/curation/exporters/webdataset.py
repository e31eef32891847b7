"""Tar shards of image, caption and JSON: what `webdataset` and img2dataset's users read."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.exporter import EXPORTERS, Exporter, write_image
from t2i_spatial.progress import progress_bar

ROWS_PER_SHARD = 1000
COLUMNS = ("prompt_id", "sample", "score", "margin", "weight", "mirrored")


@EXPORTERS.register("webdataset")
class WebDataset(Exporter):
    """`00000.tar` with `000000000.png`, `.txt` and `.json`, and `00000.parquet` of its keys.

    Shard and key numbers are img2dataset's: five digits of the shard, then four of the row. Times
    and owners in the archives are zero, so that the same rows give the same bytes.
    """

    @override
    def write(self, rows: pl.DataFrame, folder: Path, *, resolution: int | None) -> None:
        with progress_bar(len(rows), "export") as bar, tempfile.TemporaryDirectory() as scratch:
            for shard, start in enumerate(range(0, len(rows), ROWS_PER_SHARD)):
                part = rows[start : start + ROWS_PER_SHARD]
                keys = [f"{shard:05}{place:04}" for place in range(len(part))]
                with tarfile.open(folder / f"{shard:05}.tar", "w") as archive:
                    for key, row in zip(keys, part.iter_rows(named=True), strict=True):
                        name = write_image(row, Path(scratch) / key, resolution=resolution)
                        file = Path(scratch) / name
                        _add(archive, name, file.read_bytes())
                        file.unlink()
                        more: dict[str, Any] = {"caption": row["text"], "key": key}
                        more |= {column: row[column] for column in COLUMNS}
                        _add(archive, f"{key}.txt", row["text"].encode())
                        _add(archive, f"{key}.json", json.dumps(more, ensure_ascii=False).encode())
                        bar.update(1)
                part.select(
                    pl.Series("key", keys), pl.col("text").alias("caption"), *COLUMNS
                ).write_parquet(folder / f"{shard:05}.parquet")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
