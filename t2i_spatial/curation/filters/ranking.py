"""Filters that compare the images of one prompt."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter
from t2i_spatial.tables import KEY


@FILTERS.register("best_of")
class BestOf(Filter):
    """The best `n` of the remaining images of every prompt; of equals, the lower sample number."""

    adjective: ClassVar[str] = "best"

    n: int = Field(default=1, ge=1)
    by: Literal["value", "margin", "score"] | str = "margin"

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame:
        """`best_of_rank`: place among the images of the prompt, from 1."""
        worth = pl.col(self.by).cast(pl.Float64).fill_null(float("-inf")).alias("worth")
        rows = survivors.select(*KEY, worth).collect(engine="streaming")
        ranked = rows.sort("prompt_id", "worth", "sample", descending=[False, True, False])
        rank = pl.int_range(1, pl.len() + 1).over("prompt_id")
        return ranked.select(*KEY, rank.alias("best_of_rank")).lazy()

    @override
    def keep(self) -> pl.Expr:
        return pl.col("best_of_rank") <= self.n

    @override
    def reason(self) -> pl.Expr:
        return pl.format(f"number {{}} of its prompt by {self.by}", "best_of_rank")
