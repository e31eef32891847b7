"""How well a relation holds between two boxes, by the rules of every protocol.

    relation_scores("geneval", "left of", subject_boxes, object_boxes)   # (n, 4), (n, 4) -> (n,)

Rules of the peers stand here; those of `spatial` in `spatial_rules`. One decorated function in a
new module of this room, or of an entry point of the group `t2i_spatial.metrics`, adds a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.metrics.geometry import Bools, Boxes, Floats, Ints, box_pairs, iou
from t2i_spatial.scene import canonical_relation

Depth = ArrayLike | Sequence[ArrayLike]


@dataclass(frozen=True, eq=False)
class Pairs:
    """n subject and object boxes, and what else a rule may look at.

    Attributes:
        subject, object: columns of n boxes.
        image_size: (width, height) as two numbers or two (n,) arrays; `None` when unknown.
        depth: nearness of subject and object, two (n,) arrays in [0, 1], larger = nearer, or a
            depth map (height, width) in the frame of the boxes; `None` when unknown.
    """

    subject: Boxes
    object: Boxes
    image_size: tuple[Floats, Floats] | None = None
    depth: tuple[Floats, Floats] | Floats | None = None

    def nearness(self, *, axes_swapped: bool = False) -> tuple[Floats, Floats] | None:
        """Mean nearness of both boxes, (n,) each; NaN where a box covers no pixel of the map."""
        if self.depth is None or isinstance(self.depth, tuple):
            return self.depth
        table = self.depth.T if axes_swapped else self.depth
        return box_means(table, self.subject), box_means(table, self.object)


BLOCK = 16_384
"""Pairs scored at a time: intermediate arrays of this length stay in the processor's cache."""

Rule = Callable[[Pairs], Floats]
_RULES: dict[str, dict[str, Rule]] = {}


def relation_rule(protocol: str, *relations: str) -> Callable[[Rule], Rule]:
    """Decorator: this function scores these relations of a protocol, in [0, 1].

    Raises:
        InputError: the protocol has a rule for one of them already.
    """

    def add(rule: Rule) -> Rule:
        rules = _RULES.setdefault(protocol, {})
        for relation in relations:
            if rules.get(relation, rule) is not rule:
                raise InputError(f"{protocol} has two rules for {relation!r}")
            rules[relation] = rule
        return rule

    return add


def relation_scores(
    protocol: str,
    relation: str,
    subject: ArrayLike | Iterator[ArrayLike],
    object: ArrayLike | Iterator[ArrayLike],
    *,
    image_size: Sequence[ArrayLike] | None = None,
    depth: Depth | None = None,
) -> Floats:
    """How well `relation` holds between subject and object boxes by the rules of a protocol.

    Args:
        protocol: `visor` and `geneval` give 0 or 1, `t2i_compbench_2d` and `_3d` their position
            score (boxes in the frame which that protocol uses: long side 480), their `_fixed`
            variants the same without the quirks, `spatial` the probability that people would call
            the relation true.
        relation: a canonical relation, one of its aliases, or the peer's own phrase. A phrase
            that the peer spells differently with another effect keeps it (`t2i_compbench_2d`
            gives 0 for "on top of", but scores "on the top of").
        subject, object: (n, 4) boxes, `xyxy`, y down, pixels; one box is paired with all of the
            other side.
        image_size: (width, height), each a number or (n,); only `t2i_compbench_2d_fixed` needs it.
        depth: for "in front of" and "behind": nearness of subject and object as a pair (tuple or
            list) of (n,) arrays, larger = nearer, or one depth map, an array (height, width) in
            the frame of the boxes. `t2i_compbench_3d` needs it; `spatial` uses it when given.

    Returns:
        (n,) float64 in [0, 1]; empty input gives an empty array.

    Raises:
        InputError: (a `ValueError`) an unknown protocol or relation, naming those there are;
            boxes that are no numbers, not finite or inverted; shapes that do not match; depth or
            image size missing where the protocol needs it.

    >>> relation_scores("geneval", "left of", [[0, 0, 100, 100]], [[41, 0, 141, 100]])
    array([1.])
    >>> relation_scores("t2i_compbench_2d", "to the left of", [0, 0, 100, 100], [80, 0, 180, 100])
    array([0.9])
    """
    rule = find_rule(protocol, relation)
    first, second = _numbers(subject, "subject"), _numbers(object, "object")
    lengths = {len(boxes) for boxes in (first, second) if boxes.ndim == 2}
    n = max(lengths, default=1)
    if n <= BLOCK or lengths - {1, n}:
        return rule(_pairs(first, second, image_size, depth))
    size = None if image_size is None else tuple(image_size)
    depths = _depths(depth, n)
    return np.concatenate(
        [
            rule(
                _pairs(
                    _block(first, i, n),
                    _block(second, i, n),
                    None if size is None else [_block(np.asarray(side), i, n) for side in size],
                    None if depths is None else _depth_block(depths, i, n),
                )
            )
            for i in range(0, n, BLOCK)
        ]
    )


def _numbers(boxes: Any, role: str) -> Floats:
    try:
        return np.asarray(list(boxes) if isinstance(boxes, Iterator) else boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{role} boxes must be numbers of shape (n, 4): {error}") from None


def _block(values: Floats, start: int, n: int) -> Floats:
    """The part of per-pair values that belongs to a block; what is not per pair stays whole."""
    return values[start : start + BLOCK] if values.ndim and len(values) == n else values


def _pairs(
    subject: Floats, object: Floats, image_size: Sequence[ArrayLike] | None, depth: Depth | None
) -> Pairs:
    a, b = box_pairs(subject, object)
    n = len(a.x1)
    size = None
    if image_size is not None:
        width, height = (np.asarray(side, dtype=np.float64) for side in image_size)
        if not (np.isfinite(width).all() and (width > 0).all() and (height > 0).all()):
            raise InputError(f"image_size must be positive, got {tuple(image_size)}")
        size = (np.broadcast_to(width, (n,)), np.broadcast_to(height, (n,)))
    return Pairs(a, b, size, _depths(depth, n))


def _depth_block(
    depths: tuple[Floats, Floats] | Floats, start: int, n: int
) -> tuple[Floats, Floats] | Floats:
    if isinstance(depths, tuple):
        return _block(depths[0], start, n), _block(depths[1], start, n)
    return depths


def find_rule(protocol: str, relation: str) -> Rule:
    """The rule of a protocol for a relation, alias or phrase.

    Raises:
        InputError: an unknown protocol, or a relation that it does not have.
    """
    rules = protocol_rules(protocol)
    key = " ".join(relation.lower().split())
    if key not in rules:
        try:
            key = canonical_relation(key)
        except InputError:
            key = ""
    if key not in rules:
        raise InputError(f"{protocol} has no relation {relation!r}; it has: {', '.join(rules)}")
    return rules[key]


def protocol_rules(protocol: str) -> dict[str, Rule]:
    """Relation -> rule of a protocol, the peers' own phrases included.

    Raises:
        InputError: no protocol of that name has relation rules.
    """
    from t2i_spatial.metrics.base import PROTOCOLS

    if protocol not in _RULES:
        list(PROTOCOLS)  # imports every module of the room and every entry point
    if protocol not in _RULES:
        raise InputError(f"no relation rules {protocol!r}; {nearest(protocol, _RULES)}")
    return _RULES[protocol]


# -- VISOR ------------------------------------------------------------------------------------


@relation_rule("visor", "left of")
def _visor_left(pairs: Pairs) -> Floats:
    return _number(pairs.subject.centre_x < pairs.object.centre_x)


@relation_rule("visor", "right of")
def _visor_right(pairs: Pairs) -> Floats:
    return _number(pairs.subject.centre_x > pairs.object.centre_x)


@relation_rule("visor", "above")
def _visor_above(pairs: Pairs) -> Floats:
    return _number(pairs.subject.centre_y < pairs.object.centre_y)


@relation_rule("visor", "below")
def _visor_below(pairs: Pairs) -> Floats:
    return _number(pairs.subject.centre_y > pairs.object.centre_y)


# -- GenEval ----------------------------------------------------------------------------------


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


# -- T2I-CompBench ----------------------------------------------------------------------------
# Re-implemented from the formulas; source: Karine-Huang/T2I-CompBench @ 1b70949.

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


# -- helpers ----------------------------------------------------------------------------------


def _number(holds: Bools) -> Floats:
    return holds.astype(np.float64)


def _depths(depth: Depth | None, n: int) -> tuple[Floats, Floats] | Floats | None:
    if depth is None:
        return None
    if isinstance(depth, tuple | list) and np.ndim(depth[0] if depth else 0) < 2:
        if len(depth) != 2:
            raise InputError("depth must be (subject nearness, object nearness) or a depth map")
        first, second = (np.asarray(d, dtype=np.float64) for d in depth)
        try:
            return np.broadcast_to(first, (n,)), np.broadcast_to(second, (n,))
        except ValueError:
            raise InputError(
                f"depths of shape {first.shape} and {second.shape} for {n} pairs"
            ) from None
    table = np.asarray(depth, dtype=np.float64)
    if table.ndim != 2:
        raise InputError(f"a depth map must have shape (height, width), got {table.shape}")
    return table


def box_means(table: Floats, boxes: Boxes) -> Floats:
    """Mean of the table's cells inside each box (whole pixels, ends truncated), NaN if none."""
    sums = np.zeros((table.shape[0] + 1, table.shape[1] + 1))
    sums[1:, 1:] = table.cumsum(axis=0).cumsum(axis=1)
    height, width = table.shape

    def whole(values: Floats, limit: int) -> Ints:
        return np.clip(np.trunc(values), 0, limit).astype(np.int64)

    x1, x2 = whole(boxes.x1, width), whole(boxes.x2, width)
    y1, y2 = whole(boxes.y1, height), whole(boxes.y2, height)
    total = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
    cells = ((x2 - x1) * (y2 - y1)).astype(np.float64)
    means: Floats = np.full(len(cells), np.nan)
    np.divide(total, cells, out=means, where=cells > 0)
    return means
