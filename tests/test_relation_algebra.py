import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_spatial import relation_algebra as algebra
from t2i_spatial.errors import InputError
from t2i_spatial.relations import RELATION_TABLE
from t2i_spatial.scene import RELATIONS, ObjectSpec, RelationSpec, SceneSpec

# centre order is a model of these words: a rule that fails on points is wrong
HOLDS = {
    "left of": lambda a, b: a[0] < b[0],
    "right of": lambda a, b: a[0] > b[0],
    "above": lambda a, b: a[1] < b[1],
    "below": lambda a, b: a[1] > b[1],
    "in front of": lambda a, b: a[2] < b[2],
    "behind": lambda a, b: a[2] > b[2],
}
points = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=3, max_size=3)
ordered = st.sampled_from(sorted(HOLDS))


def relations(count):
    index = st.integers(0, count - 1)
    return st.lists(
        st.builds(
            RelationSpec, index, st.sampled_from(RELATIONS), index, st.none(), st.booleans()
        ).filter(lambda r: r.subject != r.object),
        max_size=5,
    )


def test_every_relation_is_symmetric_or_has_an_order():
    known = set(algebra.AXES) | algebra.SYMMETRIC
    assert set(RELATIONS) - known == {"between", "wearing"} | {
        name
        for name in RELATIONS
        if RELATION_TABLE[name].witness == "answers" and not algebra.is_symmetric(name)
    }
    assert set(algebra.AXES) & algebra.SYMMETRIC == {"same size as"}  # level in its order


@given(points, ordered)
def test_inverse_holds_exactly_from_the_other_side(where, relation):
    a, b, _ = where
    assert HOLDS[relation](a, b) == HOLDS[algebra.inverse(relation)](b, a)


@given(points, ordered, ordered)
def test_composition_is_sound(where, first, second):
    a, b, c = where
    entailed = algebra.compose(first, second)
    if entailed and HOLDS[first](a, b) and HOLDS[second](b, c):
        assert HOLDS[entailed](a, c)


@given(points, ordered, ordered)
def test_incompatible_relations_never_hold_together(where, first, second):
    a, b, _ = where
    if algebra.incompatible(first, second):
        assert not (HOLDS[first](a, b) and HOLDS[second](a, b))


@given(points, st.data())
def test_what_holds_of_points_is_no_contradiction(where, data):
    true = [
        RelationSpec(i, relation, j)
        for i, j in itertools.permutations(range(3), 2)
        for relation, holds in HOLDS.items()
        if holds(where[i], where[j])
    ]
    chosen = data.draw(st.lists(st.sampled_from(true), max_size=6) if true else st.just([]))
    assert algebra.contradictions(chosen) == ()


def test_inverse_of_inverse_is_the_relation():
    for relation, other in algebra.INVERSE.items():
        assert algebra.inverse(other) == relation
    assert algebra.inverse("on") is None


def test_a_chain_of_three_that_closes_is_a_contradiction():
    circle = [
        RelationSpec(0, "left of", 1),
        RelationSpec(0, "near", 2),
        RelationSpec(1, "left of", 2),
        RelationSpec(0, "right of", 2),
    ]
    (found,) = algebra.contradictions(circle)
    assert found.axis == "x"
    assert sorted(found.relations) == [0, 2, 3]


@pytest.mark.parametrize(
    ("first", "second"),
    [("on", "below"), ("above", "under"), ("in front of", "behind"), ("left of", "right of")],
)
def test_contradictions_between_two(first, second):
    assert algebra.incompatible(first, second)
    assert algebra.contradictions([RelationSpec(0, first, 1), RelationSpec(0, second, 1)])


def test_in_and_in_again_from_the_other_side_is_a_contradiction():
    assert algebra.contradictions([RelationSpec(0, "in", 1), RelationSpec(1, "in", 0)])


def test_closure_infers_the_far_pair():
    known = algebra.closure([RelationSpec(0, "under", 1), RelationSpec(1, "below", 2)])
    assert (0, "below", 2) in known
    assert (2, "above", 0) in known
    assert (0, "under", 2) not in known
    assert algebra.closure([]) == frozenset()


@given(relations(3))
def test_closure_is_closed(specs):
    known = algebra.closure(specs)
    assert algebra.closure(
        [RelationSpec(*triple) for triple in known if triple[0] != triple[2]]
    ) <= (known)


def test_mirroring_twice_gives_the_scene():
    scene = SceneSpec(
        (ObjectSpec("cat", frame_position="top left"), ObjectSpec("dog")),
        (RelationSpec(0, "left of", 1), RelationSpec(0, "on", 1, "on top of")),
    )
    flipped = algebra.mirror_scene(scene)
    assert flipped.relations[0].relation == "right of"
    assert flipped.relations[1].phrase == "on top of"
    assert algebra.mirror_scene(flipped) == scene


@given(relations(3), st.permutations(range(3)))
def test_the_key_ignores_wording(specs, order):
    objects = (ObjectSpec("cat"), ObjectSpec("dog", 2), ObjectSpec("cat"))
    place = {old: new for new, old in enumerate(order)}
    reworded = tuple(
        replace(
            r,
            subject=place[r.object],
            relation=algebra.INVERSE[r.relation],
            object=place[r.subject],
        )
        if r.relation in algebra.INVERSE
        else replace(r, subject=place[r.subject], object=place[r.object])
        for r in reversed(specs)
    )
    one = SceneSpec(objects, tuple(specs))
    two = SceneSpec(tuple(objects[i] for i in order), reworded)
    assert algebra.canonical_key(one) == algebra.canonical_key(two)


def test_the_key_tells_sides_apart():
    objects = (ObjectSpec("cat"), ObjectSpec("dog"))
    left = SceneSpec(objects, (RelationSpec(0, "left of", 1),))
    right = SceneSpec(objects, (RelationSpec(0, "right of", 1),))
    assert algebra.canonical_key(left) != algebra.canonical_key(right)


def test_an_unknown_relation_is_named():
    with pytest.raises(InputError, match="lef of"):
        algebra.inverse("lef of")


def test_a_chain_that_comes_back_says_nothing_of_its_start():
    known = algebra.closure([RelationSpec(0, "left of", 1), RelationSpec(1, "left of", 0)])
    assert known == {(0, "left of", 1), (1, "left of", 0), (0, "right of", 1), (1, "right of", 0)}


def test_as_large_as_closes_a_chain_of_sizes_but_none_alone():
    equal = [RelationSpec(0, "same size as", 1), RelationSpec(1, "same size as", 2)]
    assert algebra.contradictions(equal) == ()
    assert algebra.contradictions([*equal, RelationSpec(0, "near", 2)]) == ()
    (found,) = algebra.contradictions([*equal, RelationSpec(2, "larger than", 0)])
    assert found.axis == "size"
    assert sorted(found.relations) == [0, 1, 2]


def test_what_must_not_hold_contradicts_what_follows():
    chain = [RelationSpec(0, "left of", 1), RelationSpec(1, "left of", 2)]
    denied = RelationSpec(2, "right of", 0, negated=True)
    assert algebra.contradictions([*chain, denied]) == (algebra.Contradiction((2,), "negation"),)
    assert algebra.contradictions([chain[0], denied]) == ()
    two = [RelationSpec(0, "above", 1, negated=True), RelationSpec(0, "below", 1, negated=True)]
    assert algebra.contradictions(two) == ()


def test_far_from_excludes_what_is_near_from_either_side():
    for relation in ("near", "next to", "touching"):
        specs = [RelationSpec(0, relation, 1), RelationSpec(1, "far from", 0)]
        assert algebra.contradictions(specs) == (algebra.Contradiction((0, 1), "exclusion"),)
    assert algebra.contradictions([RelationSpec(0, "far from", 1)]) == ()


def test_the_two_ends_of_between_may_be_told_in_either_order():
    cat, dog, bird = (ObjectSpec(name) for name in ("cat", "dog", "bird"))
    one = SceneSpec((cat, dog, bird), (RelationSpec(0, "between", 1, second=2),))
    two = SceneSpec((cat, dog, bird), (RelationSpec(0, "between", 2, second=1),))
    other = SceneSpec((cat, dog, bird), (RelationSpec(1, "between", 0, second=2),))
    denied = SceneSpec((cat, dog, bird), (RelationSpec(0, "between", 1, negated=True, second=2),))
    assert algebra.canonical_key(one) == algebra.canonical_key(two)
    assert len({algebra.canonical_key(s) for s in (one, other, denied)}) == 3


def test_a_crowd_of_one_name_has_a_key_whatever_its_order():
    crowd = SceneSpec(
        tuple(ObjectSpec("dog") for _ in range(12)),
        tuple(RelationSpec(i, "left of", i + 1) for i in range(11)),
    )
    turned = SceneSpec(crowd.objects, tuple(RelationSpec(i, "right of", i + 1) for i in range(11)))
    assert algebra.canonical_key(crowd) == algebra.canonical_key(turned)


def test_what_stands_to_each_other_contradicts_nothing_but_its_denial():
    on, beside = RelationSpec(0, "on", 0), RelationSpec(0, "left of", 0)
    assert algebra.contradictions([on, beside, RelationSpec(0, "left of", 1)]) == ()
    assert algebra.closure([on]) == {(0, "on", 0)}
    denied = RelationSpec(0, "on", 0, negated=True)
    assert algebra.contradictions([on, denied]) == (algebra.Contradiction((1,), "negation"),)
    cups = SceneSpec((ObjectSpec("cup", 2),), (on,))
    assert algebra.mirror_scene(cups) == cups
