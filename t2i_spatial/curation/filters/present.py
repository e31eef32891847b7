"""Is the image file there?"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import polars as pl

from t2i_spatial.curation.filter import FILTERS, Filter
from t2i_spatial.tables import KEY


@FILTERS.register("present")
class Present(Filter):
    """The image file exists (it is not opened; filters that measure pixels do that)."""

    name: ClassVar[str] = "present"
    adjective: ClassVar[str] = "present"

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame:
        """`is_present`: whether `path` is a file."""
        rows = survivors.select(*KEY, "path").collect()
        there = {path: bool(path) and Path(path).is_file() for path in rows["path"].unique()}
        found = pl.Series("is_present", [there[path] for path in rows["path"]], dtype=pl.Boolean)
        return rows.select(*KEY, found).lazy()

    def keep(self) -> pl.Expr:
        """See `Filter.keep`."""
        return pl.col("is_present")

    def reason(self) -> pl.Expr:
        """See `Filter.reason`."""
        return pl.format("no such file: {}", pl.col("image").fill_null("(none)"))
