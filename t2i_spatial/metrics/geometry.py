"""Box geometry on arrays: boxes are (..., 4) float64, `xyxy`, y down; results are (...)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Boxes(NamedTuple):
    """Columns of n boxes, each (n,)."""

    x1: Floats
    y1: Floats
    x2: Floats
    y2: Floats

    @property
    def width(self) -> Floats:
        """x2 - x1."""
        return self.x2 - self.x1

    @property
    def height(self) -> Floats:
        """y2 - y1."""
        return self.y2 - self.y1

    @property
    def centre_x(self) -> Floats:
        """Middle of the horizontal side."""
        return (self.x1 + self.x2) / 2

    @property
    def centre_y(self) -> Floats:
        """Middle of the vertical side."""
        return (self.y1 + self.y2) / 2

    @property
    def area(self) -> Floats:
        """Width times height."""
        return self.width * self.height


def columns(boxes: ArrayLike) -> Boxes:
    """The columns of boxes that are already known to be valid."""
    return Boxes(*np.ascontiguousarray(np.asarray(boxes, dtype=np.float64).T))


def box_pairs(
    subject: ArrayLike, object: ArrayLike, roles: tuple[str, str] = ("subject", "object")
) -> tuple[Boxes, Boxes]:
    """Validated subject and object boxes of n pairs.

    Args:
        subject, object: (n, 4) each; a single box, (4,) or (1, 4), is paired with all of the
            other side. Empty input gives no pairs.
        roles: what messages call them.

    Raises:
        InputError: wrong shapes, numbers that are not finite, or x2 < x1 or y2 < y1.
    """
    arrays = [_valid(subject, roles[0]), _valid(object, roles[1])]
    lengths = {len(a) for a in arrays}
    if len(lengths) == 2 and 1 not in lengths:
        raise InputError(f"{len(arrays[0])} {roles[0]} boxes for {len(arrays[1])} {roles[1]} boxes")
    n = min(lengths) if 0 in lengths else max(lengths)
    first, second = (columns(np.broadcast_to(a, (n, 4))) for a in arrays)
    return first, second


def _valid(boxes: ArrayLike, role: str) -> Floats:
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"{role} boxes must have shape (n, 4), got {np.shape(boxes)}")
    # one sum tells whether all are finite, except where finite numbers overflow
    wrong: Bools = np.zeros(0, dtype=bool)
    with np.errstate(over="ignore"):
        total = array.sum()
    if not np.isfinite(total):
        wrong = np.any(~np.isfinite(array), axis=1)
    if wrong.any():
        raise InputError(f"{role} box {_first(array, wrong)} is not finite")
    wrong = np.asarray(array[:, 2] < array[:, 0]) | (array[:, 3] < array[:, 1])
    if wrong.any():
        raise InputError(
            f"{role} box {_first(array, wrong)} is inverted (expected x1 <= x2 and y1 <= y2)"
        )
    return array


def _first(array: Floats, wrong: Bools) -> list[float]:
    return [float(v) for v in array[int(np.argmax(wrong))]]


def intersection(a: Boxes, b: Boxes) -> Floats:
    """Area that both boxes cover."""
    width: Floats = np.minimum(a.x2, b.x2) - np.maximum(a.x1, b.x1)
    height = np.minimum(a.y2, b.y2) - np.maximum(a.y1, b.y1)
    area: Floats = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    return area


def iou(a: Boxes, b: Boxes) -> Floats:
    """Intersection over union; 0 when both boxes are empty."""
    common = intersection(a, b)
    union = a.area + b.area - common
    share: Floats = np.zeros_like(common)
    np.divide(common, union, out=share, where=union > 0)
    return share


def interval_gap(low_a: Floats, high_a: Floats, low_b: Floats, high_b: Floats) -> Floats:
    """Distance between two intervals, 0 when they touch or overlap."""
    gap: Floats = np.maximum(np.maximum(low_b - high_a, low_a - high_b), 0.0)
    return gap


def precedes(low_a: Floats, high_a: Floats, low_b: Floats, high_b: Floats) -> Floats:
    """P(u < v) for u uniform in [low_a, high_a] and v in [low_b, high_b], ties counting half.

    An interval of length 0 is a point. 1 when a ends before b begins; 0.5 for equal intervals;
    never grows when a moves up.
    """
    length_a, length_b = high_a - low_a, high_b - low_b
    points_a, points_b = length_a <= 0, length_b <= 0
    any_a, any_b = bool(points_a.any()), bool(points_b.any())
    scale = np.where(points_b, 1.0, length_b) if any_b else length_b

    def ramp(x: Floats) -> Floats:
        """Integral of P(t < v) over t up to x, from the start of b: exact for every overlap."""
        along = x - low_b
        inside = np.clip(along, 0.0, length_b)
        total: Floats = np.minimum(along, 0.0) + inside * (1 - inside / (2 * scale))
        return total

    spread = ramp(high_a) - ramp(low_a)
    spread /= np.where(points_a, 1.0, length_a) if any_a else length_a
    if any_a:
        point = np.clip((high_b - low_a) / scale, 0.0, 1.0)
        if any_b:
            order = np.where(low_a < low_b, 1.0, np.where(low_a > low_b, 0.0, 0.5))
            point = np.where(points_b, order, point)
        spread = np.where(points_a, point, spread)
    return np.clip(spread, 0.0, 1.0)
