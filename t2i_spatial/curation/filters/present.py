"""Is the image file there, and does it lie as its boxes say?"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter
from t2i_spatial.images import is_upright, open_image
from t2i_spatial.locations import for_each, locate
from t2i_spatial.patience import StoreError
from t2i_spatial.tables import KEY


@FILTERS.register("present")
class Present(Filter):
    """The image file exists (it is not opened; filters that measure pixels do that)."""

    adjective: ClassVar[str] = "present"

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame:
        """`is_present`: whether `path` is a file."""
        return _of_files(survivors, "is_present", _is_there)

    @override
    def keep(self) -> pl.Expr:
        return pl.col("is_present")

    @override
    def reason(self) -> pl.Expr:
        return pl.format("no such file: {}", pl.col("image").fill_null("(none)"))


@FILTERS.register("upright")
class Upright(Filter):
    """The file asks for no rotation (EXIF); COCO's boxes are those of the pixels as they lie."""

    adjective: ClassVar[str] = "upright"

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame:
        """`is_upright`: no EXIF orientation other than 1."""
        return _of_files(survivors, "is_upright", _lies_upright)

    @override
    def keep(self) -> pl.Expr:
        return pl.col("is_upright")

    @override
    def reason(self) -> pl.Expr:
        return pl.lit("its EXIF data turn or mirror the picture, which boxes do not follow")


def _of_files(survivors: pl.LazyFrame, column: str, holds: Callable[[str], bool]) -> pl.LazyFrame:
    """A column that says of every image whether something holds for its file; once per file."""
    rows = survivors.select(*KEY, "path").collect()
    paths = rows["path"].unique().to_list()
    known = dict(zip(paths, for_each(holds, paths), strict=True))
    found = pl.Series(column, [known[path] for path in rows["path"]], dtype=pl.Boolean)
    return rows.select(*KEY, found).lazy()


def _is_there(path: str | None) -> bool:
    return bool(path) and locate(str(path)).is_file()


def _lies_upright(path: str) -> bool:
    try:
        with open_image(path) as image:
            return is_upright(image)
    except StoreError:
        raise
    except Exception:  # noqa: BLE001 - whoever decodes the file says what is wrong with it
        return True
