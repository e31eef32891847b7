"""Which part of an image to train on, so that no object of the caption is cut."""

from __future__ import annotations

import polars as pl

PADDING = 0.05
"""Room around the two objects, as a share of their common box."""


def square_around_pair() -> pl.Expr:
    """`[x1, y1, x2, y2]` in pixels: the smallest square around both boxes that fits the image.

    Uses the `a_` and `b_` columns, `width` and `height`. CoMPaSS crops a square too, but limits
    it to the shorter side of the image, which can cut an object; here a pair that is too wide or
    high for a square gets a rectangle instead, of the whole shorter side. Null without two boxes.
    """
    width, height = pl.col("width").cast(pl.Float64), pl.col("height").cast(pl.Float64)
    left, top = (pl.min_horizontal(f"a_{axis}", f"b_{axis}") for axis in "xy")
    right = pl.max_horizontal(pl.col("a_x") + pl.col("a_w"), pl.col("b_x") + pl.col("b_w"))
    bottom = pl.max_horizontal(pl.col("a_y") + pl.col("a_h"), pl.col("b_y") + pl.col("b_h"))
    longest = pl.max_horizontal(right - left, bottom - top)
    # at least two pixels more, so that rounding cuts no object
    side = pl.max_horizontal(longest * (1 + 2 * PADDING), longest + 2).ceil()
    corners = []
    for low, high, whole in ((left, right, width), (top, bottom, height)):
        extent = pl.min_horizontal(side, whole)
        start = ((low + high - extent) / 2).floor().clip(0, None)
        start = pl.min_horizontal(start, whole - extent)
        corners.append((start, start + extent))
    (x1, x2), (y1, y2) = corners
    both = pl.col("a_label").is_not_null() & pl.col("b_label").is_not_null()
    return pl.when(both).then(pl.concat_list(x1, y1, x2, y2))
