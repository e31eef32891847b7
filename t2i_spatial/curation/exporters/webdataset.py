"""Tar shards of image, caption and JSON: what `webdataset` and img2dataset's users read."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.card import write_card
from t2i_spatial.curation.exporter import EXPORTERS, Exporter, common_suffix, write_image
from t2i_spatial.progress import progress_bar

SHARD_BYTES = 256_000_000
"""A shard is closed before it would grow beyond this."""

ROWS_PER_SHARD = 10_000
COLUMNS = ("prompt_id", "sample", "score", "margin", "weight", "mirrored")
MEANING = {
    "png": "RGB image (`jpg` where all images of the set are JPEG)",
    "txt": "caption",
    "json": "caption, key, origin, score, margin and weight",
}


@EXPORTERS.register("webdataset")
class WebDataset(Exporter):
    """`00000.tar` with `000000000.png`, `.json` and `.txt`, its table `00000.parquet`, an index.

    Readers find out types and fields from the first samples. So all images of a set have one
    format (JPEG if all files are JPEG and are copied, else PNG), all JSON has the same sorted keys,
    and a value that is not known for every image stands in the Parquet tables only. Keys are
    numbers in ascending order over all shards. `index.json` is the shard list of `wids`. Times and
    owners in the archives are zero, so that the same rows give the same bytes.
    """

    @override
    def write(self, rows: pl.DataFrame, folder: Path, *, resolution: int | None) -> None:
        known = [column for column in COLUMNS if rows[column].null_count() == 0]
        digits = max(9, len(str(len(rows))))
        suffix = common_suffix(rows, resolution)
        shards = _Shards(folder)
        with progress_bar(len(rows), "export") as bar, tempfile.TemporaryDirectory() as scratch:
            for number, row in enumerate(rows.iter_rows(named=True)):
                key = f"{number:0{digits}}"
                target = Path(scratch) / key
                name = write_image(row, target, resolution=resolution, suffix=suffix)
                more: dict[str, Any] = {"caption": row["text"], "key": key}
                more |= {column: row[column] for column in known}
                files = {
                    name: (Path(scratch) / name).read_bytes(),
                    f"{key}.json": json.dumps(more, ensure_ascii=False, sort_keys=True).encode(),
                    f"{key}.txt": row["text"].encode(),
                }
                (Path(scratch) / name).unlink()
                shards.add(files)
                bar.update(1)
        shards.close()
        start = 0
        for number, count in enumerate(shards.counts):
            keys = [f"{place:0{digits}}" for place in range(start, start + count)]
            rows[start : start + count].select(
                pl.Series("key", keys), pl.col("text").alias("caption"), *COLUMNS
            ).write_parquet(folder / f"{number:05}.parquet")
            start += count
        index = {
            "__kind__": "wids-shard-index-v1",
            "wids_version": 1,
            "shardlist": list(shards.index()),
        }
        (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n", "utf-8")
        write_card(folder, rows, "*.tar", {name: (None, text) for name, text in MEANING.items()})


class _Shards:
    """Archives of at most `SHARD_BYTES` or `ROWS_PER_SHARD` samples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: list[int] = []
        self._archive: tarfile.TarFile | None = None
        self._size = 0

    def add(self, files: dict[str, bytes]) -> None:
        """One more sample; its files are in order."""
        size = sum(512 + -(-len(content) // 512) * 512 for content in files.values())
        full = self._size + size > SHARD_BYTES or (self.counts or [0])[-1] >= ROWS_PER_SHARD
        if self._archive is None or full:
            self.close()
            self._archive = tarfile.open(self._path(len(self.counts)), "w")  # noqa: SIM115
            self.counts.append(0)
            self._size = 0
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            self._archive.addfile(member, io.BytesIO(content))
        self.counts[-1] += 1
        self._size += size

    def close(self) -> None:
        """Finish the last archive."""
        if self._archive is not None:
            self._archive.close()
            self._archive = None

    def index(self) -> Iterator[dict[str, Any]]:
        """Name, samples and bytes of every archive."""
        for number, count in enumerate(self.counts):
            path = self._path(number)
            yield {"url": path.name, "nsamples": count, "filesize": path.stat().st_size}

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05}.tar"
