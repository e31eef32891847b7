"""Which detections are the objects of a scene: the best joint assignment, and how each part holds.

One image at a time, for scenes of any shape; `spatial` has a vectorised path for the common one.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from t2i_spatial.metrics.assignment_search import MAX_COMBINATIONS, Among, Apart, Related, search
from t2i_spatial.metrics.color_words import color_fit
from t2i_spatial.metrics.duplicates import SAME_THING
from t2i_spatial.metrics.frame import place_probability
from t2i_spatial.metrics.geometry import Boxes, Floats, Ints, iou
from t2i_spatial.metrics.labels import label_names
from t2i_spatial.metrics.relations import Pairs, find_rule, protocol_rules
from t2i_spatial.prompts.inflection import plural
from t2i_spatial.prompts.phrasing import each_other
from t2i_spatial.relations import relation_row
from t2i_spatial.scene import ObjectSpec, RelationSpec, SceneSpec

SCORE_WEIGHT = 2.0
"""Power of a box's score in the choice of boxes: "is it there" against "does it fit"."""

DOUBT = 0.1
"""Least probability of a relation in the choice of boxes: however badly a confident pair fits, a
rival pair needs a third of its scores to be preferred. Any pair at all would accept too much."""

CANDIDATES = 8
"""Boxes of one object that are considered, the most confident first (more if it asks for more)."""

SAME_BOX = 0.9
"""IoU above which boxes of two objects are one thing though the prompt has one cover the other: a
pizza on a plate, a dog behind a fence. For `ASIDE` and unrelated ones `duplicates.SAME_THING`."""

ASIDE = frozenset(
    ["next to", "near", "far from", "touching", "larger than", "smaller than", "same size as"]
)
"""Relations that have no thing cover another, and that boxes on one thing would still satisfy."""

OF_ALL = frozenset(["far from", "same size as"])
"""Relations that hold among several things only if they hold between any two of them."""

SAME_BOX_PROBABILITY = 0.1
WRONG_COLOR = 0.05
OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_EPSILON = 1e-9

UNJUDGED = "unjudged"
"""Kind of a part that the evidence of an image cannot decide; no probability belongs to it."""


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
    wanted = [_wanted(scene, k) for k in range(len(own))]
    distinct = [_distinct(ids, found) for ids in own]
    present = [len(ids) for ids in distinct]
    own = [
        ids if number == 1 else once
        for number, ids, once in zip(wanted, own, distinct, strict=True)
    ]
    own = [_best(number, ids, found) for number, ids in zip(wanted, own, strict=True)]
    kept = sorted({i for ids in own for i in ids})
    found = found.take(kept)
    own = [[bisect.bisect(kept, i) - 1 for i in ids] for ids in own]
    options = [_options(number, ids) for number, ids in zip(wanted, own, strict=True)]
    unary = [
        np.array([_fit(spec, ids, found) for ids in choices])
        for spec, choices in zip(scene.objects, options, strict=True)
    ]
    related = [_related(scene, relation, own, found) for relation in scene.relations]
    apart = _apart(scene, own, found)
    picks = search(unary, options, [*(r for r in related if r), *apart])
    best = tuple(choices[p] for choices, p in zip(options, picks, strict=True))
    parts = tuple(_parts(scene, text, present, best, found, related, apart))
    return Assignment(tuple(tuple(kept[i] for i in ids) for ids in best), parts)


def _distinct(ids: list[int], found: Candidates) -> list[int]:
    """The boxes of an object without those that are one more label on a better one ("couch" and
    "sofa"); boxes of one label were looked at before.
    """
    if len({found.labels[i] for i in ids}) < 2:
        return ids
    part = found.take(ids)
    same = _overlaps(part) > SAME_THING
    kept: list[int] = []
    for k in np.argsort(-part.scores, kind="stable").tolist():
        if not any(same[k, j] and part.labels[k] != part.labels[j] for j in kept):
            kept.append(k)
    return [ids[k] for k in sorted(kept)]


def _wanted(scene: SceneSpec, k: int) -> int:
    """How many boxes an object takes: one for an open count, two for what something is between and
    for what stands to each other.
    """
    count = scene.objects[k].count
    if any(r.reciprocal and r.object == k for r in scene.relations):
        return 0 if count == 0 else max(count or 2, 2)
    if count is not None:
        return count
    return 2 if any(_is_pair(r) and r.object == k for r in scene.relations) else 1


def _is_pair(relation: RelationSpec) -> bool:
    """Whether its object is both ends ("between two trees")."""
    return relation.second is None and relation_row(relation.relation).ends > 1


def _best(wanted: int, ids: list[int], found: Candidates) -> list[int]:
    """The boxes of an object that are considered, the most confident first."""
    return sorted(ids, key=lambda i: -found.scores[i])[: max(CANDIDATES, wanted) if wanted else 0]


def _options(wanted: int, order: list[int]) -> list[tuple[int, ...]]:
    """Sets of boxes that the object may take; the empty one when there is nothing to take."""
    if wanted == 0 or not order:
        return [()]
    keep = sorted(order)
    size = min(wanted, len(keep))
    if math.comb(len(keep), size) > MAX_COMBINATIONS:
        return [tuple(sorted(order[:size]))]
    return list(itertools.combinations(keep, size))


def _fit(spec: ObjectSpec, ids: tuple[int, ...], found: Candidates) -> float:
    """Log of how well boxes fit an object on its own: scores, colour, place in the frame."""
    total = 0.0
    for i in ids:
        total += SCORE_WEIGHT * math.log(max(float(found.scores[i]), _EPSILON))
        seen = found.colors[i]
        if spec.color and seen is not None and color_fit(spec.color, seen) is False:
            total += math.log(WRONG_COLOR)
        if spec.frame_position:
            place = _place_probability(spec.frame_position, i, found)
            total += math.log(max(0.5 if place is None else place, _EPSILON))
    return total


def _related(
    scene: SceneSpec, relation: RelationSpec, own: Sequence[list[int]], found: Candidates
) -> Related | Among | None:
    """A relation over all boxes that its ends may take.

    `None` for what boxes do not decide (`in_part.outside` tells of it), and for what a "between"
    says already.
    """
    ends = relation.indices
    known = relation.relation in protocol_rules("spatial")
    if known and relation.reciprocal:
        return _among(scene, relation, own[relation.object], found)
    if not known or len(set(ends)) < len(ends) or _follows(scene, relation):
        return None
    boxes = tuple(sorted(own[k]) for k in ends)
    axes = (*boxes, boxes[-1]) if _is_pair(relation) else boxes
    ids = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    chosen = [np.asarray(axis, dtype=np.int64) for axis in ids]
    holds = pair_probability(scene, relation, found, *chosen)
    table = np.maximum(holds, _EPSILON).reshape([len(axis) for axis in axes])
    return Related(ends, boxes, table, pair=_is_pair(relation), least=DOUBT)


def _among(scene: SceneSpec, relation: RelationSpec, own: list[int], found: Candidates) -> Among:
    """A relation to each other: of two boxes either may be the first."""
    ids = sorted(own)
    first, second = np.repeat(ids, len(ids)).astype(int), np.tile(ids, len(ids)).astype(int)
    asserted = replace(relation, negated=False)
    table = pair_probability(scene, asserted, found, first, second).reshape(len(ids), len(ids))
    table = np.maximum(table, table.T)
    table = np.maximum(1 - table if relation.negated else table, _EPSILON)
    every = relation.negated or relation.relation in OF_ALL
    return Among((relation.object,), (ids,), table, every, DOUBT)


def _follows(scene: SceneSpec, relation: RelationSpec) -> bool:
    """Whether it is one of the two that "between" implies: they are kept for other protocols."""
    return relation.phrase == "between" != relation.relation and any(
        other.relation == "between"
        and other.subject == relation.subject
        and relation.object in other.indices
        for other in scene.relations
    )


def pair_probability(
    scene: SceneSpec,
    relation: RelationSpec,
    found: Candidates,
    first: Ints,
    second: Ints,
    third: Ints | None = None,
) -> Floats:
    """Probability of a relation, negated or not, between boxes of one image, (k,)."""
    a, b = (Boxes(*(c[ids] for c in found.columns)) for ids in (first, second))
    names = [scene.objects[k].name for k in (relation.subject, relation.object)]
    holds = find_rule("spatial", relation.relation)(
        Pairs(
            a,
            b,
            depth=(found.depths[first], found.depths[second]),
            second=None if third is None else Boxes(*(c[third] for c in found.columns)),
            subject_name=np.broadcast_to(np.array(names[0]), (len(first),)),
            object_name=np.broadcast_to(np.array(names[1]), (len(first),)),
        )
    )
    return 1 - holds if relation.negated else holds


def _apart(scene: SceneSpec, own: Sequence[list[int]], found: Candidates) -> list[Apart]:
    """The pairs of objects whose boxes may be one or cover the same thing."""
    overlap = _overlaps(found)
    mine = np.zeros((len(own), len(overlap)), dtype=bool)
    for k, ids in enumerate(own):
        mine[k, ids] = True
    alike = {limit: overlap > limit for limit in (SAME_THING, SAME_BOX)}
    meet = mine.astype(np.float64) @ alike[SAME_THING] @ mine.T.astype(np.float64) > 0
    logs = math.log(_EPSILON), math.log(SAME_BOX_PROBABILITY)
    overlapping = _overlapping(scene)
    pairs = np.argwhere(np.triu(meet, 1)).tolist()
    return [
        Apart((a, b), alike[SAME_BOX if (a, b) in overlapping else SAME_THING], *logs)
        for a, b in pairs
    ]


def _overlapping(scene: SceneSpec) -> set[tuple[int, int]]:
    """The pairs of objects that may cover each other or whose direction decides, in order."""
    related = (r for r in scene.relations if r.relation not in ASIDE and not r.negated)
    return {pair for r in related for pair in itertools.combinations(sorted(set(r.indices)), 2)}


def _overlaps(found: Candidates) -> Floats:
    """IoU of any two boxes, above 1 for a box and itself, (n, n)."""
    n = len(found.labels)
    first, second = (np.repeat(np.arange(n), n), np.tile(np.arange(n), n))
    a, b = (Boxes(*(c[ids] for c in found.columns)) for ids in (first, second))
    overlap: Floats = iou(a, b).reshape(n, n) + 2 * np.eye(n)
    return overlap


def _parts(
    scene: SceneSpec,
    text: str,
    present: list[int],
    chosen: tuple[tuple[int, ...], ...],
    found: Candidates,
    related: Sequence[Related | Among | None],
    apart: list[Apart],
) -> Iterator[Part]:
    for k, spec in enumerate(scene.objects):
        yield from _object_parts(scene, k, text, present[k], bool(chosen[k]))
        if spec.color and chosen[k]:
            yield from _color_part(spec, chosen[k], found)
        if spec.frame_position and chosen[k]:
            places = [_place_probability(spec.frame_position, i, found) for i in chosen[k]]
            known = [p for p in places if p is not None]
            if len(known) < len(places):
                yield Part(
                    UNJUDGED, 1.0, f"{spec.name} in the {spec.frame_position} of the picture"
                )
            if known:
                yield Part(
                    "frame", min(known), f"{spec.name} in the {spec.frame_position} of the picture"
                )
    for link in apart:
        a, b = link.ends
        value = math.exp(float(link.logs([[chosen[a]], [chosen[b]]])[0, 0]))
        if value < 1:
            names = scene.objects[a].name, scene.objects[b].name
            yield Part("objects", min(value, 0.1), f"{names[0]} and {names[1]} share one box")
    for relation, ends in zip(scene.relations, related, strict=True):
        if ends is None or any(not chosen[k] for k in ends.ends):
            continue
        if ends.pair and len(chosen[relation.object]) < 2:
            name = scene.objects[relation.object].name
            yield Part("relations", 0.0, f"1 {name} found, {relation.relation} needs two")
            continue
        value = float(ends.worst([[chosen[k]] for k in ends.ends]).item())
        yield Part("relations", value, _said(scene, relation, found, chosen, value))


def _object_parts(
    scene: SceneSpec, k: int, text: str, present: int, chosen: bool
) -> Iterator[Part]:
    spec = scene.objects[k]
    if spec.count == 0:
        yield Part("objects", float(present == 0), f"{present} {spec.name} found, none wanted")
        return
    if not chosen:
        yield Part("objects", 0.0, f"no {spec.name} found")
        return
    yield Part("objects", 1.0, f"{spec.name} found")
    # "two cats and a black cat": the cats together are counted, once
    namesakes = [
        (j, other)
        for j, other in enumerate(scene.objects)
        if other.name == spec.name and other.count != 0
    ]
    if k != namesakes[0][0]:
        return
    counts = [
        (_count_rule(spec, text, len(namesakes) > 1), spec.count or 1) for _, spec in namesakes
    ]
    rule, wanted = _joint_rule(counts)
    if rule == "one or more":
        if len(namesakes) > 1 and present < wanted:
            yield Part("counts", 0.0, f"{present} of {wanted} {spec.name} found")
        return
    off = _off(rule, present, wanted)
    value = 1.0 if off == 0 else 0.5 * max(0.0, 1 - off / wanted)
    said = "" if rule == "exactly" else f"{rule} "
    yield Part("counts", value, f"{present} {spec.name} found, {said}{wanted} wanted")


def _count_rule(spec: ObjectSpec, text: str, has_namesakes: bool) -> str:
    """How a number is meant: a "one" that is only an article asks for one or more."""
    if spec.count is None:
        return "open"
    if spec.count_rule != "exactly":
        return spec.count_rule
    says = spec.count >= 2 or (not has_namesakes and says_one(text, spec.name))
    return "exactly" if says else "one or more"


def _joint_rule(counts: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """How many things of one name a scene asks for together, and how that number is meant."""
    rules = {rule for rule, _ in counts}
    if "open" in rules or rules == {"one or more"}:
        return "one or more", sum(number for _, number in counts)
    if rules <= {"exactly", "one or more"}:
        return "exactly", sum(number for _, number in counts)
    if "at least" not in rules:
        return "at most", sum(number for _, number in counts)
    return "at least", sum(number for rule, number in counts if rule != "at most")


def _off(rule: str, present: int, wanted: int) -> int:
    """By how many the number is wrong."""
    if rule == "at least":
        return max(0, wanted - present)
    return max(0, present - wanted) if rule == "at most" else abs(present - wanted)


def _color_part(spec: ObjectSpec, ids: tuple[int, ...], found: Candidates) -> Iterator[Part]:
    assert spec.color is not None
    seen = [found.colors[i] for i in ids]
    fits = [None if color is None else color_fit(spec.color, color) for color in seen]
    if None in fits:
        yield Part(UNJUDGED, 1.0, f"{spec.color} {spec.name}")
    known = [fit for fit in fits if fit is not None]
    if not known:
        return
    right = sum(known) / len(known)
    other = next((c for c, fit in zip(seen, fits, strict=True) if fit is False), spec.color)
    yield Part(
        "colors",
        right if right == 1 else 0.5 * right,
        f"{spec.name} is {other}" + ("" if right == 1 else f" (needs {spec.color})"),
    )


def _place_probability(place: str, i: int, found: Candidates) -> float | None:
    """Probability that box `i` is where the prompt puts it; `None` without image size."""
    if not found.width or not found.height:
        return None
    x, y = float(found.columns.centre_x[i]), float(found.columns.centre_y[i])
    return place_probability(place, x / found.width, y / found.height)


def _said(
    scene: SceneSpec,
    relation: RelationSpec,
    found: Candidates,
    chosen: tuple[tuple[int, ...], ...],
    value: float,
) -> str:
    a, b = scene.objects[relation.subject].name, scene.objects[relation.object].name
    if relation.reciprocal:
        holds = relation.negated != (value > 0.5)
        must_not = " (must not be)" if relation.negated and holds else ""
        words = f"{'' if holds else 'not '}{each_other(relation.relation)}{must_not}"
        return f"{plural(a)} are {words}: {value:.2f}"
    if relation.second is not None:
        b = f"{b} and {scene.objects[relation.second].name}"
    if relation.negated:
        if value > 0.5:
            return f"{a} is not {relation.relation} {b}: {value:.2f}"
        return f"{a} is {relation.relation} {b} (must not be): {value:.2f}"
    opposite = OPPOSITES.get(relation.relation)
    other = 0.0
    if opposite:
        subjects, objects = chosen[relation.subject], chosen[relation.object]
        first, second = np.repeat(subjects, len(objects)), np.tile(objects, len(subjects))
        worst = int(np.argmin(pair_probability(scene, relation, found, first, second)))
        ids = first[worst : worst + 1], second[worst : worst + 1]
        turned = replace(relation, relation=opposite)
        other = float(pair_probability(scene, turned, found, *ids)[0])
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
