"""Parquet with image bytes and a data card: what the hub and `load_dataset` read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.exporter import EXPORTERS, Exporter, write_image
from t2i_spatial.progress import progress_bar

ROWS_PER_FILE = 1000
TYPES = {
    "image": "image",
    "text": "string",
    "prompt_id": "string",
    "sample": "int32",
    "score": "float64",
    "margin": "float64",
    "weight": "float64",
    "mirrored": "bool",
}


@EXPORTERS.register("parquet")
class HuggingFaceParquet(Exporter):
    """`data/train-00000-of-00002.parquet` and `README.md`.

    The image column is a struct of bytes and file name; the card says that it is an image, so
    that `load_dataset(FOLDER)` decodes it, here and on the hub. One file holds at most
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
                part.select(column, *list(TYPES)[1:]).write_parquet(
                    data / f"train-{index:05}-of-{len(parts):05}.parquet",
                    row_group_size=100,
                )
        (folder / "README.md").write_text(_card(rows), "utf-8")


def _card(rows: pl.DataFrame) -> str:
    size = len(rows)
    limits = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    category = next((name for limit, name in limits if size < limit), "100K<n<1M")
    mirrored = int(rows["mirrored"].sum())
    features = "\n".join(f"  - name: {n}\n    dtype: {t}" for n, t in TYPES.items())
    return f"""---
task_categories:
- text-to-image
size_categories:
- {category}
dataset_info:
  features:
{features}
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---

# Images whose spatial relations were checked

{size:,} images with captions, selected by t2i-spatial; {mirrored:,} of them are mirrored copies
with left and right swapped in the caption.

| column | meaning |
|---|---|
| `image` | RGB image |
| `text` | caption |
| `prompt_id`, `sample` | where the image comes from |
| `score` | lowest detector score of the boxes the verdict used |
| `margin` | distance from the other verdict |
| `weight` | training weight |
| `mirrored` | mirrored copy, with a caption to match |

Do not flip images at random in training: the captions say left and right.
"""
