"""Keep what is wider than high."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field

from t2i_spatial.curation.filter import Filter


class Wide(Filter):
    """The image is at least this many times as wide as high."""

    adjective: ClassVar[str] = "wide"

    ratio: float = Field(default=1.0, gt=0)

    def keep(self) -> pl.Expr:
        return pl.col("width") >= self.ratio * pl.col("height")

    def reason(self) -> pl.Expr:
        return pl.format("{} x {} pixels is too narrow", "width", "height")
