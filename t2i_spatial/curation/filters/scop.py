"""The five criteria of SCOP, each a filter, and all of them as one (`curation.object_pairs`)."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter, FilterGroup
from t2i_spatial.curation.object_pairs import (
    THRESHOLDS,
    area,
    centre_distance,
    intersection,
    shorter_diagonal,
)

PUBLISHED = THRESHOLDS["published"]
NO_PAIR = "the verdict used fewer than two boxes"


@FILTERS.register("visual_significance")
class VisualSignificance(Filter):
    """Both boxes together cover at least this share of the image (an overlap counts twice)."""

    adjective: ClassVar[str] = "significant"

    minimum: float = Field(default=PUBLISHED.visual, ge=0)

    @override
    def keep(self) -> pl.Expr:
        # in this order: width * height * threshold rounds differently
        image = pl.col("width").cast(pl.Float64) * pl.col("height").cast(pl.Float64)
        return area("a") + area("b") >= self.minimum * image

    @override
    def reason(self) -> pl.Expr:
        image = pl.col("width").cast(pl.Float64) * pl.col("height").cast(pl.Float64)
        share = ((area("a") + area("b")) / image).round(3)
        return pl.format(f"boxes cover {{}} of the image < {self.minimum:g}", share).fill_null(
            NO_PAIR
        )


@FILTERS.register("semantic_distinction")
class SemanticDistinction(Filter):
    """The two objects are of different kinds."""

    adjective: ClassVar[str] = "of two kinds"

    @override
    def keep(self) -> pl.Expr:
        return pl.col("a_label") != pl.col("b_label")

    @override
    def reason(self) -> pl.Expr:
        return pl.format("both are {}", "a_label").fill_null(NO_PAIR)


@FILTERS.register("spatial_clarity")
class SpatialClarity(Filter):
    """The centres are at most this many (shorter) diagonals apart."""

    adjective: ClassVar[str] = "close"

    maximum: float = Field(default=PUBLISHED.clarity, ge=0)

    @override
    def keep(self) -> pl.Expr:
        return centre_distance() <= self.maximum * shorter_diagonal()

    @override
    def reason(self) -> pl.Expr:
        apart = (centre_distance() / shorter_diagonal()).round(3)
        return pl.format(f"centres are {{}} diagonals apart > {self.maximum:g}", apart).fill_null(
            NO_PAIR
        )


@FILTERS.register("minimal_overlap")
class MinimalOverlap(Filter):
    """The boxes share less than this part of the smaller one (strictly)."""

    adjective: ClassVar[str] = "apart"

    maximum: float = Field(default=PUBLISHED.overlap, ge=0)

    @override
    def keep(self) -> pl.Expr:
        common = intersection()
        return (common == 0) | (common < self.maximum * pl.min_horizontal(area("a"), area("b")))

    @override
    def reason(self) -> pl.Expr:
        share = (intersection() / pl.min_horizontal(area("a"), area("b"))).round(3)
        return pl.format(
            f"{{}} of the smaller box is covered >= {self.maximum:g}", share
        ).fill_null(NO_PAIR)


@FILTERS.register("size_balance")
class SizeBalance(Filter):
    """The smaller box has at least this share of the area of the larger one."""

    adjective: ClassVar[str] = "balanced"

    minimum: float = Field(default=PUBLISHED.size, ge=0, le=1)

    @override
    def keep(self) -> pl.Expr:
        small, large = _sizes()
        return small >= self.minimum * large

    @override
    def reason(self) -> pl.Expr:
        small, large = _sizes()
        return pl.format(f"area ratio {{}} < {self.minimum:g}", (small / large).round(3)).fill_null(
            NO_PAIR
        )


def _sizes() -> tuple[pl.Expr, pl.Expr]:
    return pl.min_horizontal(area("a"), area("b")), pl.max_horizontal(area("a"), area("b"))


@FILTERS.register("scop")
class Scop(FilterGroup):
    """All five criteria in the order of the paper, with one set of thresholds."""

    thresholds: Literal["published", "best_geneval"] = "published"

    @override
    def filters(self) -> list[Filter]:
        chosen = THRESHOLDS[self.thresholds]
        return [
            VisualSignificance(minimum=chosen.visual),
            SemanticDistinction(),
            SpatialClarity(maximum=chosen.clarity),
            MinimalOverlap(maximum=chosen.overlap),
            SizeBalance(minimum=chosen.size),
        ]
