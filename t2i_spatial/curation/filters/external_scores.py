"""What others think of the image: a second detector, or a score of one's own."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import model_validator
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter


@FILTERS.register("agreement")
class Agreement(Filter):
    """A second detector leads the protocol to the same verdict (`--second NAME`)."""

    adjective: ClassVar[str] = "agreed"

    @override
    def keep(self) -> pl.Expr:
        return pl.col("second_correct") == pl.col("correct")

    @override
    def reason(self) -> pl.Expr:
        said = pl.format("the second detector disagrees: {}", "second_verdict")
        return said.fill_null("the second detector gave no verdict")


@FILTERS.register("column")
class Column(Filter):
    """A column of one's own (`--columns FILE`) lies between two limits, both included."""

    adjective: ClassVar[str] = "within limits"

    column: str
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Column:
        if None not in (self.minimum, self.maximum) and self.minimum > self.maximum:  # type: ignore[operator]
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self

    @override
    def keep(self) -> pl.Expr:
        value = pl.col(self.column)
        rules = [value.is_not_null()]
        if self.minimum is not None:
            rules.append(value >= self.minimum)
        if self.maximum is not None:
            rules.append(value <= self.maximum)
        return pl.all_horizontal(rules)

    @override
    def reason(self) -> pl.Expr:
        low = "" if self.minimum is None else f"{self.minimum:g} <= "
        high = "" if self.maximum is None else f" <= {self.maximum:g}"
        said = pl.format(f"{{}} is not {low}{self.column}{high}", self.column)
        return said.fill_null(f"there is no {self.column}")


@FILTERS.register("clip_score")
class ClipScore(Column):
    """CLIP score of image and prompt, from the column `clip_score`, at least `minimum`."""

    adjective: ClassVar[str] = "fitting"

    column: str = "clip_score"
    minimum: float | None = 0.25
