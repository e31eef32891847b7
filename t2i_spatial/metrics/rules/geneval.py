"""GenEval: the offset of the centres, reduced by the sides of the boxes."""

from __future__ import annotations

import numpy as np

from t2i_spatial.metrics.geometry import Bools, Boxes, Floats
from t2i_spatial.metrics.relations import Pairs, relation_rule


def geneval_direction(a: Boxes, b: Boxes, threshold: float = 0.1) -> tuple[Floats, Floats]:
    """Reduced offset of `a` from `b` over their distance, (x, y); a relation holds beyond 0.5.

    The offset of the centres loses `threshold` times the summed sides on each axis, but is
    divided by its full length, so both numbers may exceed 0.5 (two relations at once). Both are
    0 when nothing is left of the offset.

    Source: djghosh13/geneval @ af4902f, `relative_position`.
    """
    offset_x, offset_y = a.centre_x - b.centre_x, a.centre_y - b.centre_y
    sides_x = np.abs(a.x2 - a.x1) + np.abs(b.x2 - b.x1)
    sides_y = np.abs(a.y2 - a.y1) + np.abs(b.y2 - b.y1)
    left_x = np.maximum(np.abs(offset_x) - threshold * sides_x, 0.0) * np.sign(offset_x)
    left_y = np.maximum(np.abs(offset_y) - threshold * sides_y, 0.0) * np.sign(offset_y)
    none = (np.abs(left_x) < 1e-3) & (np.abs(left_y) < 1e-3)
    length = np.where(none, 1.0, np.sqrt(offset_x**2 + offset_y**2))
    return np.where(none, 0.0, left_x / length), np.where(none, 0.0, left_y / length)


@relation_rule("geneval", "left of")
def _geneval_left(pairs: Pairs) -> Floats:
    return _number(geneval_direction(pairs.subject, pairs.object)[0] < -0.5)


@relation_rule("geneval", "right of")
def _geneval_right(pairs: Pairs) -> Floats:
    return _number(geneval_direction(pairs.subject, pairs.object)[0] > 0.5)


@relation_rule("geneval", "above")
def _geneval_above(pairs: Pairs) -> Floats:
    return _number(geneval_direction(pairs.subject, pairs.object)[1] < -0.5)


@relation_rule("geneval", "below")
def _geneval_below(pairs: Pairs) -> Floats:
    return _number(geneval_direction(pairs.subject, pairs.object)[1] > 0.5)


def _number(holds: Bools) -> Floats:
    return holds.astype(np.float64)
