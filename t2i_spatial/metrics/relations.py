"""How well a relation holds between two boxes, by the rules of every protocol.

    relation_scores("geneval", "left of", subject_boxes, object_boxes)   # (n, 4), (n, 4) -> (n,)

The rules stand in `metrics/rules`, one file per protocol. One decorated function in a new file
there, or in a module that an entry point of the group `t2i_spatial.relations` names, adds a rule;
all of them are found before the first is asked for, whatever was imported before.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.metrics.geometry import Boxes, Floats, Ints, box_pairs
from t2i_spatial.metrics.nouns import Names
from t2i_spatial.relations import RELATION_TABLE, canonical_relation

Depth = ArrayLike | Sequence[ArrayLike]


@dataclass(frozen=True, eq=False)
class Pairs:
    """n subject and object boxes, and what else a rule may look at.

    Attributes:
        subject, object: columns of n boxes.
        second: columns of n boxes of the other end of "between"; `None` for two ends.
        subject_name, object_name: nouns, (n,) each; `None` when unknown.
        image_size: (width, height) as two numbers or two (n,) arrays; `None` when unknown.
        depth: nearness of subject and object, two (n,) arrays in [0, 1], larger = nearer, or a
            depth map (height, width) in the frame of the boxes; `None` when unknown.
    """

    subject: Boxes
    object: Boxes
    image_size: tuple[Floats, Floats] | None = None
    depth: tuple[Floats, Floats] | Floats | None = None
    second: Boxes | None = None
    subject_name: Names | None = None
    object_name: Names | None = None

    def __len__(self) -> int:
        return len(self.subject.x1)

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
    second: ArrayLike | Iterator[ArrayLike] | None = None,
    subject_name: str | Sequence[str] | None = None,
    object_name: str | Sequence[str] | None = None,
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
        second: (n, 4) boxes of the other end of "between".
        subject_name, object_name: nouns, one for all or (n,). `spatial` knows by them what holds
            things ("in"), what is worn, and how large things are ("in front of", "behind").

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
    boxes = [_numbers(subject, "subject"), _numbers(object, "object")]
    if second is not None:
        boxes.append(_numbers(second, "second"))
    names = [_names(subject_name, "subject_name"), _names(object_name, "object_name")]
    size = None if image_size is None else [np.asarray(side) for side in image_size]
    lengths = {len(part) for part in boxes if part.ndim == 2}
    n = max(lengths, default=1)
    if n <= BLOCK or lengths - {1, n}:
        return rule(_pairs(boxes, names, size, depth))
    depths = _depths(depth, n)
    return np.concatenate(
        [
            rule(
                _pairs(
                    [_block(part, i, n) for part in boxes],
                    [None if part is None else _block(part, i, n) for part in names],
                    None if size is None else [_block(side, i, n) for side in size],
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


def _names(names: str | Sequence[str] | None, role: str) -> Names | None:
    if names is None:
        return None
    array = np.asarray(names)
    if array.ndim > 1 or (array.size and array.dtype.kind != "U"):
        raise InputError(f"{role} must be one noun or a list of them, got {names!r}")
    return array.astype(np.str_)


def _block(values: NDArray[Any], start: int, n: int) -> NDArray[Any]:
    """The part of per-pair values that belongs to a block; what is not per pair stays whole."""
    return values[start : start + BLOCK] if values.ndim and len(values) == n else values


def _pairs(
    boxes: Sequence[Floats],
    names: Sequence[Names | None],
    image_size: Sequence[Floats] | None,
    depth: Depth | None,
) -> Pairs:
    a, b = box_pairs(boxes[0], boxes[1])
    n = len(a.x1)
    third = None
    if len(boxes) > 2:
        third = box_pairs(boxes[2], np.zeros((n, 4)), roles=("second", "object"))[0]
        if len(third.x1) != n:
            raise InputError(f"{len(third.x1)} second boxes for {n} pairs")
    size = None
    if image_size is not None:
        width, height = (np.asarray(side, dtype=np.float64) for side in image_size)
        if not (np.isfinite(width).all() and (width > 0).all() and (height > 0).all()):
            raise InputError(f"image_size must be positive, got {tuple(image_size)}")
        size = (np.broadcast_to(width, (n,)), np.broadcast_to(height, (n,)))
    nouns = [None if part is None else _broadcast_names(part, n) for part in names]
    return Pairs(a, b, size, _depths(depth, n), third, *nouns)


def _broadcast_names(names: Names, n: int) -> Names:
    try:
        return np.broadcast_to(names, (n,))
    except ValueError:
        raise InputError(f"{len(names)} names for {n} pairs") from None


def _depth_block(
    depths: tuple[Floats, Floats] | Floats, start: int, n: int
) -> tuple[Floats, Floats] | Floats:
    if isinstance(depths, tuple):
        return _block(depths[0], start, n), _block(depths[1], start, n)
    return depths


@cache
def _find_rules() -> None:
    """Import every file that may have rules, so that what is found depends on no import order."""
    from t2i_spatial.metrics import rules
    from t2i_spatial.metrics.base import PROTOCOLS

    for module in pkgutil.iter_modules(rules.__path__):
        importlib.import_module(f"{rules.__name__}.{module.name}")
    list(RELATION_TABLE)  # rows and rules of plugins
    list(PROTOCOLS)  # rules that stand beside a protocol


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
    _find_rules()
    if protocol not in _RULES:
        raise InputError(f"no relation rules {protocol!r}; {nearest(protocol, _RULES)}")
    return _RULES[protocol]


class RuledRelations(Set[str]):
    """The canonical relations that a protocol has a rule for, plugins' included."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol

    def __contains__(self, relation: object) -> bool:
        return relation in protocol_rules(self._protocol) and relation in RELATION_TABLE

    def __iter__(self) -> Iterator[str]:
        return (name for name in RELATION_TABLE if name in protocol_rules(self._protocol))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(set(self))


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
