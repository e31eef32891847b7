"""Boxes in fractions of their images, as YOLO and others give them, become pixels."""

from __future__ import annotations

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.progress import note

_SLACK = 0.01
_SIDES = ("width", "height")
_SMALL = 4
"""Sides in pixels up to which a box of one pixel is no surprise."""


def in_pixels(table: pl.DataFrame, what: str) -> pl.DataFrame:
    """The table with boxes in pixels.

    Boxes are fractions when no corner of any box of the file lies beyond 1: detectors find no
    objects that all stand in the first pixel.

    Raises:
        InputError: boxes are fractions of images whose size is not known.
    """
    kind = table.schema["detections"]
    if not isinstance(kind, pl.List) or not isinstance(kind.inner, pl.Struct):
        return table
    flat = table["detections"].explode().drop_nulls()
    if not len(flat) or "box" not in [field.name for field in kind.inner.fields]:
        return table
    corners = flat.struct.field("box").explode().drop_nulls()
    low, high = _number(corners.min()), _number(corners.max())
    if not (low >= -_SLACK and 0 < high <= 1 + _SLACK) or _are_points(flat):
        return table
    held = table.filter(pl.col("detections").list.len() > 0)
    if not set(_SIDES) <= set(table.columns) or any(held[side].null_count() for side in _SIDES):
        raise InputError(
            f"{what}: no box reaches beyond 1, so they are fractions of their images, whose size "
            "the file does not say; give width and height of every image"
        )
    if max(_number(held[side].max()) for side in _SIDES) <= _SMALL:
        return table
    note(f"{what}: the boxes are fractions of their images and are read as such")
    return _scaled(table, [field.name for field in kind.inner.fields])


def _scaled(table: pl.DataFrame, fields: list[str]) -> pl.DataFrame:
    corner = [
        pl.col("box").list.get(i).cast(pl.Float64).clip(0, 1)
        * pl.col("_width" if i % 2 == 0 else "_height")
        for i in range(4)
    ]
    scaled = (
        table.with_row_index("row")
        .select(
            "row", pl.col("width").alias("_width"), pl.col("height").alias("_height"), "detections"
        )
        .explode("detections")
        .filter(pl.col("detections").is_not_null())
        .unnest("detections")
        .with_columns(pl.concat_list(corner).alias("box"))
        .group_by("row", maintain_order=True)
        .agg(pl.struct(fields).alias("scaled"))
    )
    return (
        table.with_row_index("row")
        .join(scaled, on="row", how="left", maintain_order="left")
        .with_columns(pl.coalesce("scaled", "detections").alias("detections"))
        .drop("row", "scaled")
    )


def _are_points(flat: pl.Series) -> bool:
    """Whether no box has an extent: centres without boxes are not measured in the image."""
    box = flat.struct.field("box")
    return bool(((box.list.get(0) == box.list.get(2)) & (box.list.get(1) == box.list.get(3))).all())


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
