"""What the detector and the protocol said of an image."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field, model_validator
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter
from t2i_spatial.tables import SCORED


@FILTERS.register("scored")
class Scored(Filter):
    """There is an image, and the protocol has judged it."""

    adjective: ClassVar[str] = "scored"

    @override
    def keep(self) -> pl.Expr:
        return pl.col("status") == SCORED

    @override
    def reason(self) -> pl.Expr:
        return pl.format("{}: {}", "status", pl.col("status_reason").fill_null("no reason given"))


@FILTERS.register("correct")
class Correct(Filter):
    """The protocol called the image right."""

    adjective: ClassVar[str] = "correct"

    @override
    def keep(self) -> pl.Expr:
        return pl.col("correct")

    @override
    def reason(self) -> pl.Expr:
        return pl.col("verdict").fill_null("the protocol gave no verdict")


@FILTERS.register("score")
class Score(Filter):
    """Every box that the verdict used has at least this detector score.

    Without `needs_boxes` a verdict that shows no box passes: not every protocol has some.
    """

    adjective: ClassVar[str] = "confident"

    minimum: float = Field(0.3, ge=0, le=1)
    needs_boxes: bool = True

    @override
    def keep(self) -> pl.Expr:
        confident = pl.col("score") >= self.minimum
        return confident if self.needs_boxes else confident | pl.col("a_label").is_null()

    @override
    def reason(self) -> pl.Expr:
        said = pl.format(f"lowest detector score {{}} < {self.minimum:g}", pl.col("score").round(3))
        return said.fill_null("the verdict used no box")


@FILTERS.register("margin")
class Margin(Filter):
    """The verdict is at least this far from the other answer (in the protocol's own unit)."""

    adjective: ClassVar[str] = "clear"

    minimum: float = 0.05

    @override
    def keep(self) -> pl.Expr:
        return pl.col("margin") >= self.minimum

    @override
    def reason(self) -> pl.Expr:
        said = pl.format(f"margin {{}} < {self.minimum:g}", pl.col("margin").round(3))
        return said.fill_null("the verdict has no margin")


@FILTERS.register("unsure_band")
class UnsureBand(Filter):
    """The verdict's value lies outside a band in which people disagree."""

    adjective: ClassVar[str] = "decided"

    low: float = Field(0.35, ge=0, le=1)
    high: float = Field(0.65, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> UnsureBand:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self

    @override
    def keep(self) -> pl.Expr:
        return (pl.col("value") <= self.low) | (pl.col("value") >= self.high)

    @override
    def reason(self) -> pl.Expr:
        said = pl.format(
            f"value {{}} is between {self.low:g} and {self.high:g}", pl.col("value").round(3)
        )
        return said.fill_null("the verdict has no value")
