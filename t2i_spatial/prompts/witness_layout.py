"""A witness layout: boxes in which everything that a scene asks for is true."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.relation_algebra import contradictions
from t2i_spatial.relations import RELATION_TABLE
from t2i_spatial.scene import RelationSpec, SceneSpec

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 as fractions of the picture, y down."""

_GAP = 0.02
_ROUNDS = 60
_TRIES = 120


def _left(a: Box, b: Box) -> bool:
    return a[2] + _GAP <= b[0]


def _above(a: Box, b: Box) -> bool:
    return a[3] + _GAP <= b[1]


def _in(a: Box, b: Box) -> bool:
    return a[0] > b[0] and a[1] > b[1] and a[2] < b[2] and a[3] < b[3]


def _on(a: Box, b: Box) -> bool:
    """Standing on: the lower edge a little below the other's upper edge, within its width."""
    height = b[3] - b[1]
    return a[0] >= b[0] and a[2] <= b[2] and b[1] < a[3] <= b[1] + 0.35 * height and a[1] < b[1]


def _under(a: Box, b: Box) -> bool:
    return _above(b, a) and a[0] < (b[0] + b[2]) / 2 < a[2]


def _gap(a: Box, b: Box) -> float:
    across = max(a[0] - b[2], b[0] - a[2], 0.0)
    down = max(a[1] - b[3], b[1] - a[3], 0.0)
    return math.hypot(across, down)


def _next_to(a: Box, b: Box) -> bool:
    overlap = min(a[3], b[3]) - max(a[1], b[1])
    beside = _left(a, b) or _left(b, a)
    return beside and _gap(a, b) <= 0.1 and overlap >= 0.5 * min(a[3] - a[1], b[3] - b[1])


def _near(a: Box, b: Box) -> bool:
    return _GAP <= _gap(a, b) <= 0.15


def _in_front(a: Box, b: Box) -> bool:
    """Covering part of the other, with the lower edge further down, as things nearer do."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return False
    hidden = width * height / ((b[2] - b[0]) * (b[3] - b[1]))
    return 0.1 <= hidden <= 0.6 and a[3] > b[3] and not _in(a, b)


def _area(a: Box) -> float:
    return (a[2] - a[0]) * (a[3] - a[1])


def _larger(a: Box, b: Box) -> bool:
    return _area(a) >= 2 * _area(b)


def _same_size(a: Box, b: Box) -> bool:
    return abs(_area(a) - _area(b)) <= 0.02 * _area(b)


def _far(a: Box, b: Box) -> bool:
    return _gap(a, b) >= 0.75 * (math.sqrt(_area(a)) + math.sqrt(_area(b)))


def _touching(a: Box, b: Box) -> bool:
    """Overlapping a good deal, neither being in the other."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return False
    common = width * height
    smaller = min(_area(a), _area(b))
    return common / (_area(a) + _area(b) - common) >= 0.1 and common <= 0.6 * smaller


def _around(a: Box, b: Box) -> bool:
    return _in(b, a) and _larger(a, b)


HOLDS: dict[str, Callable[[Box, Box], bool]] = {
    "left of": _left,
    "right of": lambda a, b: _left(b, a),
    "above": _above,
    "below": lambda a, b: _above(b, a),
    "on": _on,
    "under": _under,
    "in": _in,
    "next to": _next_to,
    "near": _near,
    "in front of": _in_front,
    "behind": lambda a, b: _in_front(b, a),
    "larger than": _larger,
    "smaller than": lambda a, b: _larger(b, a),
    "same size as": _same_size,
    "far from": _far,
    "touching": _touching,
    "surrounding": _around,
    "wearing": _around,
}
"""Relation -> whether it plainly holds of two boxes: stricter than any protocol's rule."""

_OVERLAPPING = ("on", "in", "in front of", "behind", "touching", "surrounding", "wearing")
_CLOSE = ("next to", "near", *_OVERLAPPING)
_SHARES = {
    "in": (0.55, 0.55),
    "on": (0.8, 1.0),
    "surrounding": (0.55, 0.55),
    "wearing": (0.6, 0.4),
    "larger than": (0.65, 0.65),
    "smaller than": (0.65, 0.65),
}
"""How much of the larger one's width and height the smaller one takes at most."""
_LARGER_SUBJECT = ("surrounding", "wearing", "larger than")


def can_draw(relation: str) -> bool:
    """Whether a layout can show a relation: those of `HOLDS`, and rows of plugins with `drawn`."""
    return _holds(relation) is not None


def _holds(relation: str) -> Callable[[Box, Box], bool] | None:
    return HOLDS.get(relation) or RELATION_TABLE[relation].drawn


_REGIONS = {"left": (0, 0.0, 0.4), "right": (0, 0.6, 1.0), "top": (1, 0.0, 0.4)} | {
    "bottom": (1, 0.6, 1.0)
}


def solve_layout(scene: SceneSpec, seed: int = 0) -> list[dict[str, Any]]:
    """Boxes for all objects of a scene, in which its relations and places hold.

    Objects that no relation brings together do not overlap. Several of a kind stand in a row or
    grid within one block, and relations hold between blocks (a count left open gets two).

    Returns:
        One entry per thing: `{"name", "box": [x1, y1, x2, y2], "object"}`, the box as fractions of
        the picture, y down, `object` the index into the scene. An empty scene gives none. The same
        scene and seed give the same boxes.

    Raises:
        InputError: the relations contradict each other, or no layout was found.

    >>> from t2i_spatial.prompts.parser import parse_prompt
    >>> cat, dog = solve_layout(parse_prompt("a cat to the left of a dog"))
    >>> cat["box"][2] < dog["box"][0]
    True
    """
    if found := contradictions(scene.relations):
        raise InputError(
            "this scene cannot be drawn, its relations contradict each other: "
            + ", ".join(_say(scene, scene.relations[index]) for index in found[0].relations)
        )
    if any(relation.subject == relation.object for relation in scene.relations):
        raise InputError("this scene cannot be drawn: what stands to each other has no drawing")
    for relation in scene.relations:
        if not can_draw(relation.relation) or relation.negated:
            raise InputError(f"this scene cannot be drawn: {_say(scene, relation)} has no drawing")
    things = [index for index, spec in enumerate(scene.objects) if spec.count != 0]
    if not things:
        return []
    rng = random.Random(seed)
    for attempt in range(_ROUNDS):
        boxes = _attempt(scene, things, rng, 1.0 - 0.7 * attempt / _ROUNDS)
        if boxes is not None:
            return [
                {"name": scene.objects[index].name, "box": list(part), "object": index}
                for index in things
                for part in _parts(boxes[index], _number(scene, index), _stands(scene, index))
            ]
    raise InputError(
        "no layout found for this scene: "
        + (", ".join(_say(scene, relation) for relation in scene.relations) or "too many objects")
    )


def _say(scene: SceneSpec, relation: RelationSpec) -> str:
    names = scene.objects[relation.subject].name, scene.objects[relation.object].name
    return f"{names[0]} {'not ' if relation.negated else ''}{relation.relation} {names[1]}"


def _number(scene: SceneSpec, index: int) -> int:
    count = scene.objects[index].count
    return 2 if count is None else count


def _stands(scene: SceneSpec, index: int) -> bool:
    """Whether all of a kind must stand in one row, because they are on something."""
    return any(r.relation == "on" and r.subject == index for r in scene.relations)


def _attempt(
    scene: SceneSpec, things: list[int], rng: random.Random, scale: float
) -> dict[int, Box] | None:
    sizes = _sizes(scene, things, rng, scale)
    order = sorted(things, key=lambda i: (-sizes[i][0] * sizes[i][1], i))
    placed: dict[int, Box] = {}
    for index in order:
        about = [
            (r, r.object if r.subject == index else r.subject)
            for r in scene.relations
            if index in (r.subject, r.object)
        ]
        for _ in range(_TRIES):
            box = _propose(scene, index, sizes[index], about, placed, rng)
            if box is not None and _fits(scene, index, box, about, placed):
                placed[index] = box
                break
        else:
            return None
    return placed


def _sizes(
    scene: SceneSpec, things: list[int], rng: random.Random, scale: float
) -> dict[int, tuple[float, float]]:
    base = min(0.42, 0.75 / math.sqrt(len(things))) * scale
    sizes = {}
    for index in things:
        width, height = (base * rng.uniform(0.7, 1.0) for _ in range(2))
        number = _number(scene, index)
        if number > 1:
            columns = number if _stands(scene, index) else min(number, 4)
            width = min(0.9, width * (0.6 + 0.3 * min(columns, 4)))
            height *= 0.6 + 0.35 * (math.ceil(number / columns) - 1)
        sizes[index] = width, min(height, 0.9)
    # what is in something itself is not enlarged for what is in it
    inner = {
        r.object if r.relation in _LARGER_SUBJECT else r.subject
        for r in scene.relations
        if r.relation in _SHARES
    }
    for _ in range(len(things)):
        # equals last: what the others enlarged must not stay larger
        for relation in sorted(scene.relations, key=lambda r: r.relation == "same size as"):
            small, big = relation.subject, relation.object
            if small not in sizes or big not in sizes:
                continue
            if relation.relation == "same size as":
                both = sizes[small], sizes[big]
                sizes[small] = sizes[big] = min(s[0] for s in both), min(s[1] for s in both)
            if relation.relation not in _SHARES:
                continue
            if relation.relation in _LARGER_SUBJECT:
                small, big = big, small
            wide, high = _SHARES[relation.relation]
            big_width, big_height = sizes[big]
            if relation.relation in _OVERLAPPING and big not in inner:
                big_width = min(0.9, max(big_width, 1.2 * base))
                big_height = min(0.9, max(big_height, base))
                sizes[big] = big_width, big_height
            limit = sizes[small][1] if relation.relation == "on" else high * big_height
            sizes[small] = min(sizes[small][0], wide * big_width), min(sizes[small][1], limit)
    return sizes


def _propose(
    scene: SceneSpec,
    index: int,
    size: tuple[float, float],
    about: list[tuple[RelationSpec, int]],
    placed: dict[int, Box],
    rng: random.Random,
) -> Box | None:
    """A random place for one box, within what its relations to the placed ones leave."""
    low = [0.01, 0.01]
    high = [0.99 - size[0], 0.99 - size[1]]
    for word in (scene.objects[index].frame_position or "").split():
        if word == "center":
            for axis in (0, 1):
                low[axis] = max(low[axis], 0.4 - size[axis] / 2)
                high[axis] = min(high[axis], 0.6 - size[axis] / 2)
        elif word in _REGIONS:
            axis, start, end = _REGIONS[word]
            low[axis] = max(low[axis], start - size[axis] / 2)
            high[axis] = min(high[axis], end - size[axis] / 2)
    for relation, other in about:
        if other not in placed:
            continue
        box = placed[other]
        name = relation.relation
        if relation.subject != index and name in ("left of", "right of", "above", "below"):
            name = {"left of": "right of", "right of": "left of", "above": "below"}.get(
                name, "above"
            )
        elif relation.subject != index and name == "under":
            name = "above"
        if name == "left of":
            high[0] = min(high[0], box[0] - _GAP - size[0])
        elif name == "right of":
            low[0] = max(low[0], box[2] + _GAP)
        elif name == "above":
            high[1] = min(high[1], box[1] - _GAP - size[1])
        elif name in ("below", "under"):
            low[1] = max(low[1], box[3] + _GAP)
        elif name in _CLOSE:
            reach = 0.16
            for axis in (0, 1):
                low[axis] = max(low[axis], box[axis] - size[axis] - reach)
                high[axis] = min(high[axis], box[axis + 2] + reach)
    if low[0] > high[0] or low[1] > high[1]:
        return None
    x, y = round(rng.uniform(low[0], high[0]), 4), round(rng.uniform(low[1], high[1]), 4)
    return x, y, round(x + size[0], 4), round(y + size[1], 4)


def _fits(
    scene: SceneSpec,
    index: int,
    box: Box,
    about: list[tuple[RelationSpec, int]],
    placed: dict[int, Box],
) -> bool:
    together = set()
    for relation, other in about:
        if other not in placed:
            continue
        pair = (box, placed[other]) if relation.subject == index else (placed[other], box)
        holds = _holds(relation.relation)
        if holds is None or not holds(*pair):
            return False
        if relation.relation in _OVERLAPPING:
            together.add(other)
    for other, there in placed.items():
        if other in together or _share_a_place(scene, index, other):
            continue
        if _gap(box, there) < _GAP:
            return False
    return True


def _share_a_place(scene: SceneSpec, one: int, other: int) -> bool:
    """Whether a chain of containment and contact joins two objects, so that their boxes may
    overlap; two in one place may not.
    """
    reached, frontier = {one}, [one]
    while frontier:
        index = frontier.pop()
        for relation in scene.relations:
            if relation.relation in _OVERLAPPING and index in (relation.subject, relation.object):
                new = relation.object if relation.subject == index else relation.subject
                if new not in reached:
                    reached.add(new)
                    frontier.append(new)
    return other in reached and not _places(scene, one) & _places(scene, other)


def _places(scene: SceneSpec, index: int) -> set[int]:
    """What a thing is in, on, surrounded or worn by."""
    found = {r.object for r in scene.relations if r.subject == index and r.relation in ("in", "on")}
    return found | {
        r.subject
        for r in scene.relations
        if r.object == index and r.relation in ("surrounding", "wearing")
    }


def _parts(box: Box, number: int, one_row: bool) -> list[tuple[float, float, float, float]]:
    """A block divided into a row or grid of `number` boxes with a little air between them."""
    if number == 1:
        return [box]
    columns = number if one_row or number <= 4 else math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    width, height = (box[2] - box[0]) / columns, (box[3] - box[1]) / rows
    parts = []
    for place in range(number):
        row, column = divmod(place, columns)
        x, y = box[0] + column * width, box[1] + row * height
        right = x + (0.92 if column < columns - 1 else 1.0) * width
        bottom = y + (0.92 if row < rows - 1 else 1.0) * height
        parts.append((round(x, 4), round(y, 4), round(right, 4), round(bottom, 4)))
    return parts
