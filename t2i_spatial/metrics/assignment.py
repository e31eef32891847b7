"""Which detections are the objects of a scene: the best joint assignment, and how each part holds.

One image at a time, for scenes of any shape; `spatial` has a vectorised path for the common one.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from t2i_spatial.metrics.geometry import Boxes, Floats, iou
from t2i_spatial.metrics.labels import label_names
from t2i_spatial.metrics.relations import Pairs, find_rule, protocol_rules
from t2i_spatial.scene import ObjectSpec, RelationSpec, SceneSpec

SCORE_WEIGHT = 2.0
"""Power of a box's score in the choice of boxes: "is it there" against "does it fit"."""

DOUBT = 0.1
"""Least probability of a relation in the choice of boxes: however badly a confident pair fits, a
rival pair needs a third of its scores to be preferred. Any pair at all would accept too much."""

CANDIDATES = 8
"""Boxes of one object that are considered, the most confident first (more if it asks for more)."""

MAX_COMBINATIONS = 20_000
"""Assignments that are searched exhaustively; beyond, objects are improved in turn."""

SAME_BOX = 0.9
"""IoU above which boxes of two different objects are taken for one thing."""

SAME_BOX_PROBABILITY = 0.1
WRONG_COLOR = 0.05
OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_EPSILON = 1e-9


@dataclass(frozen=True)
class Part:
    """One thing a scene asks for: its kind, the probability that it holds, and words for it."""

    kind: str
    value: float
    said: str


@dataclass
class Candidates:
    """The boxes of one image that may be objects of its scene."""

    labels: Sequence[str]
    scores: Floats
    boxes: Floats
    colors: Sequence[str | None]
    depths: Floats
    width: float | None
    height: float | None
    columns: Boxes = field(init=False)

    def __post_init__(self) -> None:
        self.columns = Boxes(*self.boxes.reshape(-1, 4).T)

    def take(self, ids: list[int]) -> Candidates:
        """Some of the boxes, in the order of `ids`."""
        return Candidates(
            [self.labels[i] for i in ids],
            self.scores[ids],
            self.boxes[ids],
            [self.colors[i] for i in ids],
            self.depths[ids],
            self.width,
            self.height,
        )


@dataclass(frozen=True)
class Assignment:
    """Indices of the boxes chosen for every object, and the parts judged on them."""

    chosen: tuple[tuple[int, ...], ...]
    parts: tuple[Part, ...]


def matches(label: str, name: str, names: set[str]) -> bool:
    """Whether a detector's label means the object `name` of a prompt with the objects `names`.

    Equal words do; aliases do unless the label is the word for another object of the prompt.

    >>> matches("couch", "sofa", {"sofa"}), matches("man", "woman", {"man", "woman"})
    (True, False)
    """
    if label == name:
        return True
    return label not in names and bool(label_names(label) & label_names(name))


def says_one(text: str, name: str) -> bool:
    """Whether a prompt asks for exactly one of something in words ("one cat", "a single cat").

    >>> says_one("exactly one red cat", "cat"), says_one("a cat", "cat")
    (True, False)
    """
    return re.search(rf"\b(one|single|1)\s+(\w+\s+)?{re.escape(name)}\b", text.lower()) is not None


def assign(scene: SceneSpec, text: str, found: Candidates) -> Assignment:
    """The assignment with the highest product of box scores and part probabilities.

    Every object gets as many boxes as it asks for (one for an open count), as far as there are
    that many; no box serves two objects. Ties go to the boxes listed first.
    """
    names = {spec.name for spec in scene.objects}
    own = [
        [i for i, label in enumerate(found.labels) if matches(label, spec.name, names)]
        for spec in scene.objects
    ]
    present = [len(ids) for ids in own]
    own = [_best(spec, ids, found) for spec, ids in zip(scene.objects, own, strict=True)]
    kept = sorted({i for ids in own for i in ids})
    found = found.take(kept)
    own = [[bisect.bisect(kept, i) - 1 for i in ids] for ids in own]
    options = [_options(spec, ids, found) for spec, ids in zip(scene.objects, own, strict=True)]
    tables = [_relation_table(r, found) for r in scene.relations]
    same = _same_table(found)
    best = _search(scene, options, found, tables, same)
    parts = tuple(_parts(scene, text, present, best, found, tables, same))
    return Assignment(tuple(tuple(kept[i] for i in ids) for ids in best), parts)


def _best(spec: ObjectSpec, ids: list[int], found: Candidates) -> list[int]:
    """The boxes of an object that are considered, the most confident first."""
    wanted = 1 if spec.count is None else spec.count
    return sorted(ids, key=lambda i: -found.scores[i])[: max(CANDIDATES, wanted) if wanted else 0]


def _options(spec: ObjectSpec, order: list[int], found: Candidates) -> list[tuple[int, ...]]:
    """Sets of boxes that the object may take; the empty one when there is nothing to take."""
    wanted = 1 if spec.count is None else spec.count
    if wanted == 0 or not order:
        return [()]
    keep = sorted(order)
    size = min(wanted, len(keep))
    if math.comb(len(keep), size) > MAX_COMBINATIONS:
        return [tuple(sorted(order[:size]))]
    return list(itertools.combinations(keep, size))


def _search(
    scene: SceneSpec,
    options: list[list[tuple[int, ...]]],
    found: Candidates,
    tables: list[Floats],
    same: list[set[int]],
) -> tuple[tuple[int, ...], ...]:
    unary = [
        [_fit(spec, ids, found) for ids in choices]
        for spec, choices in zip(scene.objects, options, strict=True)
    ]

    def utility(picks: Sequence[int]) -> float:
        sets = [options[k][p] for k, p in enumerate(picks)]
        total = sum(unary[k][p] for k, p in enumerate(picks))
        for relation, table in zip(scene.relations, tables, strict=True):
            if relation.subject != relation.object:
                fit = _pairwise(table, sets[relation.subject], sets[relation.object])
                total += math.log(max(fit, DOUBT))
        for a, b in itertools.combinations(range(len(sets)), 2):
            total += math.log(_distinct(sets[a], sets[b], same))
        return total

    sizes = [len(choices) for choices in options]
    if math.prod(sizes) <= MAX_COMBINATIONS:
        best = max(itertools.product(*map(range, sizes)), key=utility)
        return tuple(options[k][p] for k, p in enumerate(best))
    picks = [int(np.argmax(fits)) for fits in unary]
    for _ in range(len(sizes)):
        before = list(picks)
        for k, size in enumerate(sizes):
            tried = [utility([*picks[:k], p, *picks[k + 1 :]]) for p in range(size)]
            picks[k] = int(np.argmax(tried))
        if picks == before:
            break
    return tuple(options[k][p] for k, p in enumerate(picks))


def _fit(spec: ObjectSpec, ids: tuple[int, ...], found: Candidates) -> float:
    """Log of how well boxes fit an object on its own: scores, colour, place in the frame."""
    total = 0.0
    for i in ids:
        total += SCORE_WEIGHT * math.log(max(float(found.scores[i]), _EPSILON))
        if spec.color and found.colors[i] is not None and found.colors[i] != spec.color:
            total += math.log(WRONG_COLOR)
        if spec.frame_position:
            place = frame_probability(spec.frame_position, i, found)
            total += math.log(max(0.5 if place is None else place, _EPSILON))
    return total


def _relation_table(relation: RelationSpec, found: Candidates) -> Floats:
    """Probability of the relation for every ordered pair of boxes, (n, n)."""
    n = len(found.labels)
    first, second = (np.repeat(np.arange(n), n), np.tile(np.arange(n), n))
    holds = pair_probability(relation.relation, found, first, second).reshape(n, n)
    return 1 - holds if relation.negated else holds


def pair_probability(
    relation: str, found: Candidates, first: np.ndarray, second: np.ndarray
) -> Floats:
    """Probability of a relation between boxes `first` and `second` of one image, (k,).

    0.5 for a relation that boxes cannot show: a verdict without a rule would be a guess.
    """
    if not judges(relation):
        return np.full(len(first), 0.5)
    a, b = (Boxes(*(c[ids] for c in found.columns)) for ids in (first, second))
    depth = (found.depths[first], found.depths[second])
    return find_rule("spatial", relation)(Pairs(a, b, depth=depth))


def judges(relation: str) -> bool:
    """Whether `spatial` has a rule for a canonical relation between two boxes."""
    return relation in protocol_rules("spatial")


def _pairwise(table: Floats, subjects: tuple[int, ...], objects: tuple[int, ...]) -> float:
    """The worst pair; 1 when one side has no box (the missing object counts by itself)."""
    if not subjects or not objects:
        return 1.0
    return max(float(table[np.ix_(subjects, objects)].min()), _EPSILON)


def _same_table(found: Candidates) -> list[set[int]]:
    """For every box the boxes that cover the same thing, itself among them."""
    n = len(found.labels)
    first, second = (np.repeat(np.arange(n), n), np.tile(np.arange(n), n))
    a, b = (Boxes(*(c[ids] for c in found.columns)) for ids in (first, second))
    alike = (iou(a, b) > SAME_BOX).reshape(n, n)
    return [{i, *np.flatnonzero(row).tolist()} for i, row in enumerate(alike)]


def _distinct(a: tuple[int, ...], b: tuple[int, ...], same: list[set[int]]) -> float:
    if not set(a).isdisjoint(b):
        return _EPSILON
    return SAME_BOX_PROBABILITY if any(not same[i].isdisjoint(b) for i in a) else 1.0


def _parts(
    scene: SceneSpec,
    text: str,
    present: list[int],
    chosen: tuple[tuple[int, ...], ...],
    found: Candidates,
    tables: list[Floats],
    same: list[set[int]],
) -> Iterator[Part]:
    for k, spec in enumerate(scene.objects):
        yield from _object_parts(scene, k, text, present[k], bool(chosen[k]))
        if spec.color and chosen[k]:
            yield from _color_part(spec, chosen[k], found)
        if spec.frame_position and chosen[k]:
            places = [frame_probability(spec.frame_position, i, found) for i in chosen[k]]
            known = [p for p in places if p is not None]
            if known:
                yield Part(
                    "frame", min(known), f"{spec.name} in the {spec.frame_position} of the picture"
                )
    for a, b in itertools.combinations(range(len(chosen)), 2):
        if chosen[a] and chosen[b] and (value := _distinct(chosen[a], chosen[b], same)) < 1:
            names = scene.objects[a].name, scene.objects[b].name
            yield Part("objects", min(value, 0.1), f"{names[0]} and {names[1]} share one box")
    for relation, table in zip(scene.relations, tables, strict=True):
        subjects, objects = chosen[relation.subject], chosen[relation.object]
        if subjects and objects and relation.subject != relation.object:
            value = _pairwise(table, subjects, objects)
            yield Part("relations", value, _said(scene, relation, found, subjects, objects, value))


def _object_parts(
    scene: SceneSpec, k: int, text: str, present: int, chosen: bool
) -> Iterator[Part]:
    spec = scene.objects[k]
    namesakes = [j for j, other in enumerate(scene.objects) if other.name == spec.name]
    if spec.count == 0:
        yield Part("objects", float(present == 0), f"{present} {spec.name} found, none wanted")
        return
    if not chosen:
        yield Part("objects", 0.0, f"no {spec.name} found")
        return
    yield Part("objects", 1.0, f"{spec.name} found")
    exact = (spec.count or 1) >= 2 or (spec.count == 1 and says_one(text, spec.name))
    # "two cats and a black cat": the cats together are counted, once
    if len(namesakes) > 1:
        if k != namesakes[0]:
            return
        counts = [scene.objects[j].count for j in namesakes]
        exact = None not in counts and any((c or 0) >= 2 for c in counts)
        wanted = sum(c or 1 for c in counts)
        if not exact and present < wanted:
            yield Part("counts", 0.0, f"{present} of {wanted} {spec.name} found")
    else:
        wanted = spec.count or 1
    if exact:
        off = abs(present - wanted)
        value = 1.0 if off == 0 else 0.5 * max(0.0, 1 - off / wanted)
        yield Part("counts", value, f"{present} {spec.name} found, {wanted} wanted")


def _color_part(spec: ObjectSpec, ids: tuple[int, ...], found: Candidates) -> Iterator[Part]:
    seen = [found.colors[i] for i in ids]
    known = [color for color in seen if color is not None]
    if not known:
        return
    right = sum(color == spec.color for color in known) / len(known)
    other = next((color for color in known if color != spec.color), spec.color)
    yield Part(
        "colors",
        right if right == 1 else 0.5 * right,
        f"{spec.name} is {other}" + ("" if right == 1 else f" (needs {spec.color})"),
    )


def frame_probability(place: str, i: int, found: Candidates) -> float | None:
    """Probability that box `i` is where the prompt puts it in the picture.

    "left", "right", "top", "bottom" and their combinations mean that half of the picture, "center"
    its middle half on both axes. `None` without image size or for other words.
    """
    if not found.width or not found.height:
        return None
    x = float(found.columns.centre_x[i]) / found.width
    y = float(found.columns.centre_y[i]) / found.height
    margins = []
    for word in place.lower().replace("-", " ").split():
        if word in ("left", "right"):
            margins.append((0.5 - x if word == "left" else x - 0.5) / 0.25)
        elif word in ("top", "upper", "bottom", "lower"):
            margins.append((0.5 - y if word in ("top", "upper") else y - 0.5) / 0.25)
        elif word in ("center", "centre", "middle"):
            margins.append((0.25 - max(abs(x - 0.5), abs(y - 0.5))) / 0.125)
    if not margins:
        return None
    return 1 / (1 + math.exp(-3 * min(margins)))


def _said(
    scene: SceneSpec,
    relation: RelationSpec,
    found: Candidates,
    subjects: tuple[int, ...],
    objects: tuple[int, ...],
    value: float,
) -> str:
    a, b = scene.objects[relation.subject].name, scene.objects[relation.object].name
    if relation.second is not None:
        b += f" and {scene.objects[relation.second].name}"
    if not judges(relation.relation):
        return f"boxes cannot tell whether {a} is {relation.relation} {b}"
    if relation.negated:
        return f"{a} is {'' if value <= 0.5 else 'not '}{relation.relation} {b}" + (
            f" (must not be): {value:.2f}" if value <= 0.5 else f": {value:.2f}"
        )
    first, second = np.repeat(subjects, len(objects)), np.tile(objects, len(subjects))
    opposite = OPPOSITES.get(relation.relation)
    other = 0.0
    if opposite:
        worst = int(np.argmin(pair_probability(relation.relation, found, first, second)))
        ids = first[worst : worst + 1], second[worst : worst + 1]
        other = float(pair_probability(opposite, found, *ids)[0])
    return relation_words(a, relation.relation, b, value, other)


def relation_words(a: str, relation: str, b: str, value: float, opposite: float) -> str:
    """One sentence about a relation; `opposite` is the probability of the opposite relation.

    >>> relation_words("cat", "left of", "dog", 0.04, 0.97)
    'cat is right of dog (needs left of): 0.04'
    """
    if value > 0.5:
        return f"{a} is {relation} {b}: {value:.2f}"
    if opposite > 0.5:
        return f"{a} is {OPPOSITES[relation]} {b} (needs {relation}): {value:.2f}"
    return f"{a} is not {relation} {b}: {value:.2f}"
