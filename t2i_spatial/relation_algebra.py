"""What relations say about each other: inverse, symmetry, composition, contradiction, mirror.

All relations are in the viewer's frame. Statements hold for the words as people use them, not for
one protocol's boxes; where a word is too loose for a rule, there is no rule ("a painting on a
wall" is not above the wall, so "on" composes with nothing).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from t2i_spatial.scene import RelationSpec, SceneSpec, canonical_relation

INVERSE: Mapping[str, str] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
    "next to": "next to",
    "near": "near",
}
"""Relations whose converse the vocabulary can say: A r B exactly when B INVERSE[r] A."""

SYMMETRIC = frozenset({"next to", "near"})
"""A r B exactly when B r A."""

TRANSITIVE = frozenset({"left of", "right of", "above", "below", "in", "in front of", "behind"})
"""A r B and B r C entail A r C."""

ENTAILS: Mapping[str, frozenset[str]] = {
    "under": frozenset({"below"}),
    "next to": frozenset({"near"}),
}
"""A r B entails A s B for these s (`r` itself left out)."""

AXES: Mapping[str, tuple[str, int]] = {
    "left of": ("x", -1),
    "right of": ("x", 1),
    "above": ("y", -1),
    "on": ("y", -1),
    "below": ("y", 1),
    "under": ("y", 1),
    "in front of": ("z", -1),
    "behind": ("z", 1),
    "in": ("containment", -1),
}
"""The order a relation belongs to, and whether its subject comes first (-1) or last (1) there.

Image axes: x to the right, y down, z away from the viewer. No chain in one order may close."""


def inverse(relation: str) -> str | None:
    """The relation that says the same from the other object's side, or `None`.

    "On", "under" and "in" have none: a table with a cup on it is not "under" the cup in the
    sense in which a dog is under a table.

    >>> inverse("left of"), inverse("near"), inverse("on")
    ('right of', 'near', None)

    Raises:
        InputError: not a known relation.
    """
    return INVERSE.get(canonical_relation(relation))


def is_symmetric(relation: str) -> bool:
    """Whether A r B says the same as B r A.

    Raises:
        InputError: not a known relation.
    """
    return canonical_relation(relation) in SYMMETRIC


def is_transitive(relation: str) -> bool:
    """Whether A r B and B r C entail A r C.

    Raises:
        InputError: not a known relation.
    """
    return canonical_relation(relation) in TRANSITIVE


def mirror(relation: str) -> str:
    """The relation in the picture flipped left to right.

    >>> mirror("left of"), mirror("above")
    ('right of', 'above')

    Raises:
        InputError: not a known relation.
    """
    relation = canonical_relation(relation)
    return INVERSE[relation] if relation in ("left of", "right of") else relation


def mirror_scene(scene: SceneSpec) -> SceneSpec:
    """The scene flipped left to right: relations and places in the picture, phrases dropped.

    >>> from t2i_spatial.scene import ObjectSpec
    >>> scene = SceneSpec((ObjectSpec("cat", frame_position="top left"), ObjectSpec("dog")),
    ...                   (RelationSpec(0, "left of", 1),))
    >>> flipped = mirror_scene(scene)
    >>> flipped.objects[0].frame_position, flipped.relations[0].relation
    ('top right', 'right of')
    """
    swap = {"left": "right", "right": "left"}
    objects = tuple(
        replace(
            spec,
            frame_position=" ".join(swap.get(word, word) for word in spec.frame_position.split()),
        )
        if spec.frame_position
        else spec
        for spec in scene.objects
    )
    relations = tuple(
        replace(
            spec,
            relation=mirror(spec.relation),
            phrase=spec.phrase if mirror(spec.relation) == spec.relation else None,
        )
        for spec in scene.relations
    )
    return SceneSpec(objects, relations, scene.unparsed)


def entails(first: str, second: str) -> bool:
    """Whether A first B is enough for A second B.

    >>> entails("under", "below"), entails("below", "under")
    (True, False)

    Raises:
        InputError: not a known relation.
    """
    first, second = canonical_relation(first), canonical_relation(second)
    return first == second or second in ENTAILS.get(first, ())


def incompatible(first: str, second: str) -> bool:
    """Whether A first B and A second B cannot both hold.

    >>> incompatible("left of", "right of"), incompatible("left of", "above")
    (True, False)
    >>> incompatible("on", "under")
    True

    Raises:
        InputError: not a known relation.
    """
    one = AXES.get(canonical_relation(first))
    other = AXES.get(canonical_relation(second))
    return one is not None and other is not None and one[0] == other[0] and one[1] != other[1]


def compose(first: str, second: str) -> str | None:
    """What A first B and B second C entail of A and C, or `None` when that is nothing.

    >>> compose("left of", "left of"), compose("under", "below"), compose("left of", "above")
    ('left of', 'below', None)

    Raises:
        InputError: not a known relation.
    """
    first, second = canonical_relation(first), canonical_relation(second)
    for relation in TRANSITIVE:
        if entails(first, relation) and entails(second, relation):
            return relation
    return None


def closure(relations: Iterable[RelationSpec]) -> frozenset[tuple[int, str, int]]:
    """Everything that relations entail, as (subject, relation, object), themselves included.

    >>> spec = [RelationSpec(0, "left of", 1), RelationSpec(1, "left of", 2)]
    >>> (2, "right of", 0) in closure(spec)
    True
    """
    known: set[tuple[int, str, int]] = set()
    new = {(spec.subject, spec.relation, spec.object) for spec in relations}
    while new:
        known |= new
        found: set[tuple[int, str, int]] = set()
        for a, relation, b in new:
            found.update((a, weaker, b) for weaker in ENTAILS.get(relation, ()))
            if relation in INVERSE:
                found.add((b, INVERSE[relation], a))
        for (a, one, b), (c, other, d) in itertools.product(known, known):
            if b == c and a != d and (both := compose(one, other)):
                found.add((a, both, d))
        new = found - known
    return frozenset(known)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Relations that cannot all hold: a chain along one order that comes back to its start.

    Attributes:
        relations: indices into the relations that were checked, in the order of the chain.
        axis: "x", "y", "z" or "containment".
    """

    relations: tuple[int, ...]
    axis: str


def contradictions(relations: Sequence[RelationSpec]) -> tuple[Contradiction, ...]:
    """One contradiction per order whose chains close, with the shortest closed chain found.

    >>> contradictions([RelationSpec(0, "left of", 1), RelationSpec(0, "right of", 1)])
    (Contradiction(relations=(0, 1), axis='x'),)
    >>> contradictions([RelationSpec(0, "left of", 1), RelationSpec(0, "above", 1)])
    ()
    """
    edges: dict[str, dict[int, list[tuple[int, int]]]] = {}
    for index, spec in enumerate(relations):
        if spec.relation in AXES:
            axis, sign = AXES[spec.relation]
            ends = (spec.subject, spec.object) if sign < 0 else (spec.object, spec.subject)
            edges.setdefault(axis, defaultdict(list))[ends[0]].append((ends[1], index))
    found = []
    for axis, graph in edges.items():
        cycles = [cycle for start in graph if (cycle := _shortest_cycle(graph, start))]
        if cycles:
            found.append(Contradiction(min(cycles, key=lambda c: (len(c), c)), axis))
    return tuple(found)


def _shortest_cycle(graph: Mapping[int, list[tuple[int, int]]], start: int) -> tuple[int, ...]:
    """Edges of a shortest path from `start` back to itself; empty when there is none."""
    paths: dict[int, tuple[int, ...]] = {start: ()}
    frontier = [start]
    while frontier:
        following = []
        for node in frontier:
            for target, index in graph.get(node, ()):
                if target == start:
                    return (*paths[node], index)
                if target not in paths:
                    paths[target] = (*paths[node], index)
                    following.append(target)
        frontier = following
    return ()


def canonical_key(scene: SceneSpec) -> tuple[object, ...]:
    """A key that is equal for scenes that ask for the same, however they are worded.

    Object order, the side from which a relation is told, and phrases do not matter: "A left of B"
    and "B right of A" have one key. Relations that only follow from others are not removed.

    >>> from t2i_spatial.scene import ObjectSpec
    >>> one = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "left of", 1),))
    >>> two = SceneSpec((ObjectSpec("dog"), ObjectSpec("cat")), (RelationSpec(0, "right of", 1),))
    >>> canonical_key(one) == canonical_key(two)
    True
    """
    described = [
        (
            spec.name,
            -1 if spec.count is None else spec.count,
            spec.color or "",
            tuple(sorted(spec.attributes)),
            spec.frame_position or "",
        )
        for spec in scene.objects
    ]
    relations = {_canonical_direction(spec) for spec in scene.relations}
    # objects that look alike are told apart only by their relations: try their orders
    groups = [
        list(group)
        for _, group in itertools.groupby(
            sorted(range(len(described)), key=lambda i: described[i]), key=lambda i: described[i]
        )
    ]
    best: tuple[object, ...] | None = None
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        place = {index: new for new, index in enumerate(itertools.chain(*orders))}
        key = tuple(
            sorted(
                (min(place[a], place[b]), relation, max(place[a], place[b]))
                if relation in SYMMETRIC
                else (place[a], relation, place[b])
                for a, relation, b in relations
            )
        )
        if best is None or key < best:
            best = key
    return (tuple(sorted(described)), best)


_TOLD_FROM = {"right of": "left of", "below": "above", "behind": "in front of"}


def _canonical_direction(spec: RelationSpec) -> tuple[int, str, int]:
    if spec.relation in _TOLD_FROM:
        return spec.object, _TOLD_FROM[spec.relation], spec.subject
    if spec.relation in SYMMETRIC and spec.subject > spec.object:
        return spec.object, spec.relation, spec.subject
    return spec.subject, spec.relation, spec.object
