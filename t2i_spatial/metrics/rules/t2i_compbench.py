"""T2I-CompBench 2D and 3D, with their quirks and (`_fixed`) without.

Re-implemented from the formulas; source: Karine-Huang/T2I-CompBench @ 1b70949.
"""

from __future__ import annotations

import numpy as np

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.geometry import Boxes, Floats, iou
from t2i_spatial.metrics.relations import Pairs, Rule, relation_rule

OVERLAP_LIMIT = 0.1
DISTANCE_LIMIT = 150.0
FRAME = 480.0


def _dominant(along: Floats, across: Floats, a: Boxes, b: Boxes) -> Floats:
    """1, or 0.1 / IoU for overlapping boxes, when the offset points and dominates this way."""
    overlap = iou(a, b)
    damped = np.where(overlap < OVERLAP_LIMIT, 1.0, OVERLAP_LIMIT / np.maximum(overlap, 1e-300))
    return np.where((along > 0) & (along > np.abs(across)), damped, 0.0)


def _offsets(pairs: Pairs) -> tuple[Floats, Floats]:
    dx = pairs.object.centre_x - pairs.subject.centre_x
    return dx, pairs.object.centre_y - pairs.subject.centre_y


def _directional(sign: float, axis: int) -> Rule:
    def rule(pairs: Pairs) -> Floats:
        offsets = _offsets(pairs)
        return _dominant(sign * offsets[axis], offsets[1 - axis], pairs.subject, pairs.object)

    return rule


for _protocol, _more in (
    ("t2i_compbench_2d", ()),
    ("t2i_compbench_2d_fixed", ("on top of",)),
):
    relation_rule(_protocol, "on the left of", "left of")(_directional(1.0, 0))
    relation_rule(_protocol, "on the right of", "right of")(_directional(-1.0, 0))
    relation_rule(_protocol, "on the top of", "above", *_more)(_directional(1.0, 1))
    relation_rule(_protocol, "on the bottom of", "below")(_directional(-1.0, 1))


@relation_rule("t2i_compbench_2d", "on top of")
def _never(pairs: Pairs) -> Floats:
    return np.zeros(len(pairs.subject.x1))


@relation_rule("t2i_compbench_2d", "next to", "near", "on side of")
def _close_on_either_axis(pairs: Pairs) -> Floats:
    dx, dy = (np.abs(d) for d in _offsets(pairs))
    far = np.maximum(dx, dy)
    close = (dx < DISTANCE_LIMIT) | (dy < DISTANCE_LIMIT)
    return np.where(close, 1.0, DISTANCE_LIMIT / np.maximum(far, DISTANCE_LIMIT))


@relation_rule("t2i_compbench_2d_fixed", "next to", "near", "on side of")
def _close_on_both_axes(pairs: Pairs) -> Floats:
    if pairs.image_size is None:
        raise InputError("t2i_compbench_2d_fixed needs image_size=(width, height) for distances")
    scale = FRAME / np.maximum(*pairs.image_size)
    dx, dy = (np.abs(d) * scale for d in _offsets(pairs))
    return DISTANCE_LIMIT / np.maximum(np.maximum(dx, dy), DISTANCE_LIMIT)


def _depth_order(pairs: Pairs, sign: float, protocol: str, *, axes_swapped: bool) -> Floats:
    nearness = pairs.nearness(axes_swapped=axes_swapped)
    if nearness is None:
        raise InputError(f"{protocol} needs depth")
    overlap = iou(pairs.subject, pairs.object)
    ordered = sign * (nearness[0] - nearness[1]) > 0  # NaN compares false: 0, as in the peer
    if axes_swapped:
        position = np.where(overlap > 0.5, 1.0, np.where(overlap < 0.5, overlap / 0.5, 0.0))
    else:
        position = np.minimum(overlap / 0.5, 1.0)
    return np.where(ordered, position, 0.0)


def _depth_rule(protocol: str, sign: float, axes_swapped: bool) -> Rule:
    return lambda pairs: _depth_order(pairs, sign, protocol, axes_swapped=axes_swapped)


for _protocol, _swapped in (("t2i_compbench_3d", True), ("t2i_compbench_3d_fixed", False)):
    relation_rule(_protocol, "in front of")(_depth_rule(_protocol, 1.0, _swapped))
    relation_rule(_protocol, "behind", "hidden")(_depth_rule(_protocol, -1.0, _swapped))
