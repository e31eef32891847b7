"""Columns computed from the pixels of images, each image decoded once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import polars as pl

from t2i_spatial.curation.filter import Measure
from t2i_spatial.images import ImageUnreadableError, read_image
from t2i_spatial.progress import progress_bar
from t2i_spatial.tables import KEY

UNREADABLE = "unreadable"
"""Column that holds why an image could not be read, null when it could."""


def measure_images(
    rows: pl.DataFrame, measures: Sequence[Measure], *, threads: int | None = None
) -> pl.DataFrame:
    """The key, the columns of every measure and `unreadable`, one row per row of `rows`.

    Args:
        rows: the key columns and `path`.
        measures: each image is decoded once for all of them.
        threads: one per CPU by default.

    An image that cannot be read has null measures; nothing is raised for it.
    """
    columns: dict[str, Any] = {}
    for measure in measures:
        columns |= measure.columns
    schema: dict[str, Any] = {**columns, UNREADABLE: pl.String}

    def one(path: str | None) -> list[Any]:
        if path is None:
            return [None] * len(columns) + ["the run has no file for this image"]
        try:
            image = read_image(path)
        except ImageUnreadableError as error:
            return [None] * len(columns) + [str(error)]
        return [v for measure in measures for v in measure.function(image)] + [None]

    values: list[list[Any]] = []
    with progress_bar(len(rows), "measure") as bar:
        for row in _ordered(one, rows["path"].to_list(), threads or os.cpu_count() or 1):
            values.append(row)
            bar.update(1)
    measured = pl.DataFrame(values, schema=schema, orient="row")
    return pl.concat([rows.select(KEY), measured], how="horizontal")


def _ordered(work: Any, items: Sequence[Any], threads: int) -> Iterator[Any]:
    """`map` in threads with at most a few results waiting, so that memory stays flat."""
    source = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(work, item) for item in islice(source, 4 * threads)]
        while waiting:
            result = waiting.pop(0).result()
            waiting += [pool.submit(work, item) for item in islice(source, 1)]
            yield result
