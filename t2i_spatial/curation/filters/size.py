"""How large the image is, and how much is in it."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter, Measure


@FILTERS.register("size")
class Size(Filter):
    """Both sides have at least `minimum` pixels, and the longer is at most `ratio` shorter ones."""

    adjective: ClassVar[str] = "large enough"

    minimum: int = Field(default=256, ge=1)
    ratio: float = Field(default=2.0, ge=1)

    @override
    def keep(self) -> pl.Expr:
        short, long = _sides()
        return (short >= self.minimum) & (long <= self.ratio * short)

    @override
    def reason(self) -> pl.Expr:
        said = pl.format(
            f"{{}} x {{}} pixels: shorter side below {self.minimum} or longer than "
            f"{self.ratio:g} of it",
            "width",
            "height",
        )
        return said.fill_null("the size is unknown")


FILE_SIZE = Measure({"file_width": pl.Int32, "file_height": pl.Int32}, lambda image: image.size)


@FILTERS.register("declared_size")
class DeclaredSize(Filter):
    """The picture has the size that its boxes are given for."""

    adjective: ClassVar[str] = "of the declared size"
    measures: ClassVar[tuple[Measure, ...]] = (FILE_SIZE,)

    @override
    def keep(self) -> pl.Expr:
        return (pl.col("width") == pl.col("file_width")) & (
            pl.col("height") == pl.col("file_height")
        )

    @override
    def reason(self) -> pl.Expr:
        sides = ("file_width", "file_height", "width", "height")
        said = pl.format("{} x {} pixels, but the boxes are those of {} x {}", *sides)
        return said.fill_null("the boxes come without a size of the image")


@FILTERS.register("object_size")
class ObjectSize(Filter):
    """Each of the two boxes of the verdict covers at least this share of the image."""

    adjective: ClassVar[str] = "visible"

    minimum: float = Field(default=0.01, ge=0, le=1)

    @override
    def keep(self) -> pl.Expr:
        return self._smaller() >= self.minimum

    @override
    def reason(self) -> pl.Expr:
        return pl.format(
            f"the smaller box covers {{}} of the image < {self.minimum:g}", self._smaller().round(4)
        ).fill_null("the verdict used fewer than two boxes")

    def _smaller(self) -> pl.Expr:
        areas = [pl.col(f"{r}_w") * pl.col(f"{r}_h") for r in "ab"]
        small = pl.when(areas[0] < areas[1]).then(areas[0]).otherwise(areas[1])
        both = areas[0].is_not_null() & areas[1].is_not_null()
        return pl.when(both).then(small / (pl.col("width").cast(pl.Float64) * pl.col("height")))


@FILTERS.register("many_objects")
class ManyObjects(Filter):
    """More than this many objects were found; SPRIGHT's selection of 500 images takes 18."""

    adjective: ClassVar[str] = "crowded"

    more_than: int = Field(default=18, ge=0)

    @override
    def keep(self) -> pl.Expr:
        return pl.col("n_objects") > self.more_than

    @override
    def reason(self) -> pl.Expr:
        said = pl.format(f"{{}} objects, not more than {self.more_than}", "n_objects")
        return said.fill_null("no detector has counted the objects")


def _sides() -> tuple[pl.Expr, pl.Expr]:
    return pl.min_horizontal("width", "height"), pl.max_horizontal("width", "height")
