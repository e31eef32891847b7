"""What relations say about each other: inverse, symmetry, composition, contradiction, mirror.

All relations are in the viewer's frame. Statements hold for the words as people use them, not for
one protocol's boxes; where a word is too loose for a rule, there is no rule ("a painting on a
wall" is not above the wall, so "on" composes with nothing).
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from t2i_spatial.relations import AXES as AXES
from t2i_spatial.relations import ENTAILS as ENTAILS
from t2i_spatial.relations import INVERSE as INVERSE
from t2i_spatial.relations import (
    RELATION_TABLE,
    RELATIONS,
    RelationSet,
    canonical_relation,
    relation_row,
)
from t2i_spatial.scene import RelationSpec, SceneSpec

SYMMETRIC: Set[str] = RelationSet(lambda row: row.symmetric)
"""A r B exactly when B r A."""

TRANSITIVE: Set[str] = RelationSet(lambda row: row.transitive)
"""A r B and B r C entail A r C."""


def inverse(relation: str) -> str | None:
    """The relation that says the same from the other object's side, or `None`.

    "On", "under" and "in" have none: a table with a cup on it is not "under" the cup in the
    sense in which a dog is under a table.

    >>> inverse("left of"), inverse("near"), inverse("on")
    ('right of', 'near', None)

    Raises:
        InputError: not a known relation.
    """
    return relation_row(relation).inverse


def is_symmetric(relation: str) -> bool:
    """Whether A r B says the same as B r A.

    Raises:
        InputError: not a known relation.
    """
    return relation_row(relation).symmetric


def is_transitive(relation: str) -> bool:
    """Whether A r B and B r C entail A r C.

    Raises:
        InputError: not a known relation.
    """
    return relation_row(relation).transitive


def mirror(relation: str) -> str:
    """The relation in the picture flipped left to right.

    >>> mirror("left of"), mirror("above")
    ('right of', 'above')

    Raises:
        InputError: not a known relation.
    """
    row = relation_row(relation)
    return row.mirrored or row.name


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
    return first == second or second in RELATION_TABLE[first].entails


def incompatible(first: str, second: str) -> bool:
    """Whether A first B and A second B cannot both hold.

    >>> incompatible("left of", "right of"), incompatible("left of", "above")
    (True, False)
    >>> incompatible("on", "under")
    True

    Raises:
        InputError: not a known relation.
    """
    one, other = relation_row(first), relation_row(second)
    if other.name in one.excludes or one.name in other.excludes:
        return True
    return (
        one.axis is not None
        and other.axis is not None
        and one.axis[0] == other.axis[0]
        and one.axis[1] != other.axis[1]
    )


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

    What must not hold, what has two other ends ("between") and what holds among the instances of
    one object ("each other") entails nothing here.

    >>> spec = [RelationSpec(0, "left of", 1), RelationSpec(1, "left of", 2)]
    >>> (2, "right of", 0) in closure(spec)
    True
    """
    known: set[tuple[int, str, int]] = set()
    told = [spec for spec in relations if not spec.negated and spec.second is None]
    among = {(r.subject, r.relation, r.object) for r in told if r.reciprocal}
    new = {(r.subject, r.relation, r.object) for r in told} - among
    rows = {relation: RELATION_TABLE[relation] for _, relation, _ in new}
    while new:
        known |= new
        found: set[tuple[int, str, int]] = set()
        for a, relation, b in new:
            row = rows.setdefault(relation, RELATION_TABLE[relation])
            found.update((a, weaker, b) for weaker in row.entails)
            if row.inverse:
                found.add((b, row.inverse, a))
        for (a, one, b), (c, other, d) in itertools.product(known, known):
            # a chain that comes back to its start is a contradiction and says nothing of itself
            if b == c and a != d and (both := compose(one, other)):
                found.add((a, both, d))
        new = found - known
    return frozenset(known | among)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Relations that cannot all hold.

    Attributes:
        relations: indices into the relations that were checked: in the order of the chain where
            one order closes, otherwise as they were given.
        axis: "x", "y", "z", "size" or "containment" of a chain that comes back to its start;
            "exclusion" of two relations that shut each other out; "negation" of one that must not
            hold but follows from the others.
    """

    relations: tuple[int, ...]
    axis: str


def contradictions(relations: Sequence[RelationSpec]) -> tuple[Contradiction, ...]:
    """One contradiction per order whose chains close, with the shortest closed chain found, then
    those of pairs that exclude each other and of what must not hold.

    >>> contradictions([RelationSpec(0, "left of", 1), RelationSpec(0, "right of", 1)])
    (Contradiction(relations=(0, 1), axis='x'),)
    >>> contradictions([RelationSpec(0, "left of", 1), RelationSpec(0, "above", 1)])
    ()
    >>> contradictions([RelationSpec(0, "near", 1), RelationSpec(1, "far from", 0)])
    (Contradiction(relations=(0, 1), axis='exclusion'),)
    """
    found = [*_closed_chains(relations), *_exclusions(relations), *_denials(relations)]
    return tuple(found)


def _closed_chains(relations: Sequence[RelationSpec]) -> Iterator[Contradiction]:
    edges: dict[str, dict[int, list[tuple[int, int]]]] = {}
    strict: dict[str, list[tuple[int, int, int]]] = {}
    for index, spec in enumerate(relations):
        axis, sign = RELATION_TABLE[spec.relation].axis or ("", 0)
        if not axis or spec.negated or spec.reciprocal:  # among several, one is first
            continue
        graph = edges.setdefault(axis, defaultdict(list))
        start, end = (spec.object, spec.subject) if sign > 0 else (spec.subject, spec.object)
        graph[start].append((end, index))
        if sign:
            strict.setdefault(axis, []).append((start, end, index))
        else:  # level: a way in both directions, which alone never closes a chain
            graph[end].append((start, index))
    for axis, steps in strict.items():
        ways = ((index, _shortest_way(edges[axis], end, start)) for start, end, index in steps)
        cycles = [(index, *way) for index, way in ways if way is not None]
        if cycles:
            yield Contradiction(min(cycles, key=lambda c: (len(c), c)), axis)


def _shortest_way(
    graph: Mapping[int, list[tuple[int, int]]], start: int, goal: int
) -> tuple[int, ...] | None:
    """Edges of a shortest way, empty when it has no length; `None` when there is none."""
    ways: dict[int, tuple[int, ...]] = {start: ()}
    frontier = [start]
    while frontier and goal not in ways:
        following = []
        for node in frontier:
            for target, index in graph.get(node, ()):
                if target not in ways:
                    ways[target] = (*ways[node], index)
                    following.append(target)
        frontier = following
    return ways.get(goal)


def _exclusions(relations: Sequence[RelationSpec]) -> Iterator[Contradiction]:
    told: dict[tuple[int, str, int], int] = {}
    for index, spec in enumerate(relations):
        row = RELATION_TABLE[spec.relation]
        if spec.negated or spec.second is not None:
            continue
        told.setdefault((spec.subject, spec.relation, spec.object), index)
        if row.inverse and not spec.reciprocal:
            told.setdefault((spec.object, row.inverse, spec.subject), index)
    seen = set()
    for (a, relation, b), index in told.items():
        for other in RELATION_TABLE[relation].excludes:
            pair = (index, told.get((a, other, b), index))
            if pair[0] != pair[1] and frozenset(pair) not in seen:
                seen.add(frozenset(pair))
                yield Contradiction((min(pair), max(pair)), "exclusion")


def _denials(relations: Sequence[RelationSpec]) -> Iterator[Contradiction]:
    denied = [(i, r) for i, r in enumerate(relations) if r.negated and r.second is None]
    known = closure(relations) if denied else frozenset()
    for index, spec in denied:
        if (spec.subject, spec.relation, spec.object) in known:
            yield Contradiction((index,), "negation")


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
            spec.count_rule,
            spec.color or "",
            tuple(sorted(spec.attributes)),
            spec.frame_position or "",
            spec.text or "",
        )
        for spec in scene.objects
    ]
    relations = {_canonical_direction(spec) for spec in scene.relations}
    # objects that look alike are told apart only by their relations: try their orders
    ranks = _told_apart(described, relations)
    order = sorted(range(len(described)), key=lambda i: ranks[i])
    groups = [list(group) for _, group in itertools.groupby(order, key=lambda i: ranks[i])]
    orders: Iterable[Iterable[Sequence[int]]]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    if math.prod(math.factorial(len(group)) for group in groups) > MAX_ORDERS:
        orders = [groups]
    best: tuple[object, ...] | None = None
    for tried in orders:
        place = {index: new for new, index in enumerate(itertools.chain(*tried))}
        key = tuple(sorted(_placed(relation, place) for relation in relations))
        if best is None or key < best:
            best = key
    return (tuple(sorted(described)), best)


MAX_ORDERS = 5040
"""Orders of objects that look alike which `canonical_key` tries; beyond, it takes the given one,
and two scenes that ask for the same may have two keys."""

_Told = tuple[int, str, int, int, bool]
"""Subject, relation, object, second (-1 without one) and negation of a relation."""


def _told_apart(described: Sequence[object], relations: Iterable[_Told]) -> list[int]:
    """Ranks of objects by what is said of them: equal only for those that nothing tells apart."""
    ranks = _ranked(described)
    for _ in described:
        said: list[list[object]] = [[] for _ in described]
        for a, relation, b, second, negated in relations:
            for role, index in enumerate((a, b, second)):
                if index >= 0:
                    ends = [ranks[i] if i >= 0 else -1 for i in (a, b, second)]
                    if relation in SYMMETRIC:
                        role, ends = 0, sorted(ends)
                    elif second >= 0:
                        role, ends = min(role, 1), [ends[0], *sorted(ends[1:])]
                    said[index].append((relation, negated, role, ends))
        finer = _ranked([(rank, sorted(map(repr, s))) for rank, s in zip(ranks, said, strict=True)])
        if finer == ranks:
            break
        ranks = finer
    return ranks


def _ranked(values: Sequence[object]) -> list[int]:
    order = {value: rank for rank, value in enumerate(sorted({repr(v) for v in values}))}
    return [order[repr(value)] for value in values]


def _placed(told: _Told, place: Mapping[int, int]) -> _Told:
    a, relation, b, second, negated = told
    first, other = place[a], place[b]
    if second >= 0:
        third = place[second]
        return first, relation, min(other, third), max(other, third), negated
    if relation in SYMMETRIC:
        first, other = min(first, other), max(first, other)
    return first, relation, other, -1, negated


def _canonical_direction(spec: RelationSpec) -> _Told:
    """Of a relation and its inverse the one that stands first in the table."""
    relation, ends = spec.relation, (spec.subject, spec.object)
    other = RELATION_TABLE[relation].inverse
    if other and other != relation and RELATIONS.index(other) < RELATIONS.index(relation):
        relation, ends = other, ends[::-1]
    return ends[0], relation, ends[1], -1 if spec.second is None else spec.second, spec.negated
