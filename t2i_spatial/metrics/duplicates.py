"""Which boxes of one name are things of their own: detectors also box parts, and groups.

Used where things are counted and no peer's rule is to be kept: `spatial` and the `_fixed` variants.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from t2i_spatial.metrics.geometry import Bools, Floats, columns, iou

CORNERS = ("x1", "y1", "x2", "y2")

SAME_THING = 0.8
"""IoU above which two boxes of different names cover one thing: a label more, not a thing more."""

INSIDE = 0.9
"""Share of a box's area from which it lies inside another."""

APART = 0.3
"""IoU below which two boxes inside a third are two things of a group."""

FILLED = 0.7
"""IoU of a group's box and the box around its members."""

WEAKER = 0.5
"""Members of a group have at least this share of its score; parts of a thing are weaker."""

CROWD = 200
"""Boxes of one name in one image beyond which nested ones are not looked for."""


def are_things(boxes: Floats, scores: Floats) -> Bools:
    """Which boxes (n, 4), the most confident first, are neither part nor group of others.

    A box around at least two others that are apart, about as certain and fill it, is a group, and
    goes. Of two nested boxes that remain the weaker one goes.

    >>> two = np.array([[0.0, 0, 100, 100], [110, 0, 210, 100], [0, 0, 210, 100]])
    >>> are_things(two, np.array([0.9, 0.8, 0.7]))
    array([ True,  True, False])
    """
    inside = share_inside(boxes)  # of row in column
    keep = np.array(
        [not _is_group(k, boxes, scores, inside) for k in range(len(boxes))], dtype=bool
    )
    for k in range(1, len(boxes)):
        better = np.flatnonzero(keep[:k])
        nested = (inside[k, better] > INSIDE) | (inside[better, k] > INSIDE)
        keep[k] = keep[k] and not nested.any()
    return keep


def share_inside(boxes: Floats) -> Floats:
    """(n, n): the share of box `i` that lies in box `j`; 0 for a box without area."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    shares: Floats = np.divide(
        common, area[:, None], out=np.zeros_like(common), where=area[:, None] > 0
    )
    return shares


def _is_group(k: int, boxes: Floats, scores: Floats, inside: Floats) -> bool:
    """Whether box `k` is around things that have boxes of their own."""
    within = (inside[:, k] > INSIDE) & (inside[k] < INSIDE) & (scores >= WEAKER * scores[k])
    members: list[int] = []
    for i in np.flatnonzero(within):
        others = columns(boxes[members])
        if not members or (iou(columns(boxes[i : i + 1]), others) < APART).all():
            members.append(int(i))
    if len(members) < 2:
        return False
    around = np.concatenate([boxes[members, :2].min(axis=0), boxes[members, 2:].max(axis=0)])
    filled = iou(columns(around[None]), columns(boxes[k : k + 1]))
    return bool(filled[0] > FILLED)


def second_boxes(boxes: pl.DataFrame, by: Sequence[str], limit: float) -> list[int]:
    """Values of `place` of the rows that overlap a better one of their `by` by a higher IoU."""
    several = boxes.filter(pl.len().over(by) > 1)
    gone: list[int] = []
    for _, group in several.group_by(by):
        group = group.sort("score", "place", descending=[True, False])
        corners = group.select(CORNERS).to_numpy()
        for k, place in enumerate(group["place"].to_list()):
            if (iou(columns(corners[:k]), columns(corners[k : k + 1])) > limit).any():
                gone.append(place)
    return gone


def not_things(boxes: pl.DataFrame, by: Sequence[str] = ("row", "label")) -> list[int]:
    """Values of `place` of the rows that are parts or groups of others with the same `by`."""
    several = boxes.with_columns(pl.len().over(by).alias("namesakes")).filter(
        pl.col("namesakes").is_between(2, CROWD)
    )
    if len(several) == 0:
        return []
    gone: list[int] = []
    nested = _nested(several, by)
    for _, group in several.join(nested, on=list(by), how="semi").group_by(by):
        group = group.sort("score", "place", descending=[True, False])
        keep = are_things(group.select(CORNERS).to_numpy(), group["score"].to_numpy())
        gone += group.filter(pl.Series(~keep))["place"].to_list()
    return gone


def _nested(boxes: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The groups in which some box lies inside another, found for all images at once."""
    own = boxes.select(*by, "place", *CORNERS)
    pairs = own.join(own, on=list(by), suffix="_other").filter(
        pl.col("place") != pl.col("place_other")
    )
    width, height = (
        (
            pl.min_horizontal(f"{a}2", f"{a}2_other") - pl.max_horizontal(f"{a}1", f"{a}1_other")
        ).clip(lower_bound=0)
        for a in "xy"
    )
    area = (pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1"))
    return pairs.filter(width * height > INSIDE * area).select(by).unique()
