"""The rules of `spatial`: symmetries, monotone, 0.5 on the cut, and what they say of layouts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.geometry import precedes
from t2i_spatial.metrics.relations import protocol_rules, relation_scores
from t2i_spatial.relation_algebra import incompatible
from t2i_spatial.relations import INVERSE

MIRROR = {"left of": "right of", "right of": "left of"}
coordinate = st.integers(0, 60)
size = st.integers(0, 40)


@st.composite
def box(draw, least=0):
    x, y = draw(coordinate), draw(coordinate)
    return np.array(
        [x, y, x + draw(st.integers(least, 40)), y + draw(st.integers(least, 40))], float
    )


# the other end of "between", as far away as boxes come here
END = (100.0, 0.0, 140.0, 40.0)


def p(relation, a, b, **options):
    if relation == "between":
        options.setdefault("second", END)
    return float(relation_scores("spatial", relation, a, b, **options)[0])


def moved(a, dx=0.0, dy=0.0):
    return np.asarray(a, float) + np.array([dx, dy, dx, dy])


@pytest.mark.parametrize("relation", protocol_rules("spatial"))
@given(box(), box())
@settings(max_examples=60, deadline=None)
def test_probabilities_ignore_place_and_scale_and_follow_a_mirror(relation, a, b):
    c = np.array(END)
    value = p(relation, a, b, second=c)
    assert 0.02 < value < 0.98
    shifted = [moved(d, 128, 64) for d in (a, b, c)]
    assert p(relation, *shifted[:2], second=shifted[2]) == pytest.approx(value, abs=1e-9)
    assert p(relation, a * 7, b * 7, second=c * 7) == pytest.approx(value, abs=1e-9)
    flip = [np.array([100 - d[2], d[1], 100 - d[0], d[3]]) for d in (a, b, c)]
    mirrored = MIRROR.get(relation, relation)
    assert p(mirrored, *flip[:2], second=flip[2]) == pytest.approx(value, abs=1e-9)
    for name in ("vase", "hat", "zorblat"):
        names = {"subject_name": "dog", "object_name": name}
        named = p(relation, a * 2, b * 2, second=c * 2, **names)
        assert p(relation, a, b, **names) == pytest.approx(named, abs=1e-9)


@pytest.mark.parametrize(
    ("relation", "dx", "dy"),
    [
        ("right of", 1, 0),
        ("left of", -1, 0),
        ("below", 0, 1),
        ("above", 0, -1),
        ("in front of", 0, 1),
        ("behind", 0, -1),
        ("under", 0, 1),
    ],
)
@given(box(), box(), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_further_in_the_direction_never_scores_less(relation, dx, dy, a, b, step):
    nearer = p(relation, a, b)
    further = p(relation, moved(a, dx * step, dy * step), b)
    assert further >= nearer - 1e-12


RULED = sorted(protocol_rules("spatial"))


@pytest.mark.parametrize("relation", [r for r in RULED if r in INVERSE])
@given(box(), box())
@settings(max_examples=60, deadline=None)
def test_a_relation_is_its_inverse_from_the_other_side(relation, a, b):
    names = {"subject_name": "car", "object_name": "cup"}
    swapped = {"subject_name": "cup", "object_name": "car"}
    other = p(INVERSE[relation], b, a, **swapped)
    assert p(relation, a, b, **names) == pytest.approx(other, abs=1e-12)


EXCLUSIVE = [
    (one, other)
    for one in RULED
    for other in RULED
    if one < other
    and incompatible(one, other)
    # on a shelf, say: the words exclude each other, boxes of flat things do not
    and {one, other} not in ({"on", "below"}, {"on", "under"}, {"above", "under"})
]


@pytest.mark.parametrize(("one", "other"), EXCLUSIVE)
@given(box(least=1), box(least=1))
@settings(max_examples=25, deadline=None)
def test_relations_that_exclude_each_other_do_not_both_hold(one, other, a, b):
    assert not (p(one, a, b) > 0.5 and p(other, a, b) > 0.5)


@given(box(), box())
@settings(max_examples=60, deadline=None)
def test_the_ends_of_between_may_be_exchanged(a, b):
    assert p("between", a, b, second=END) == p("between", a, END, second=b)


def test_level_bottom_edges_are_neither_in_front_nor_behind():
    level = (0, 0, 50, 100)
    for relation in ("in front of", "behind"):
        assert p(relation, level, level) == pytest.approx(1 / (1 + np.exp(0.242)))
    assert p("behind", (0, 0, 50, 88), level) > 0.5
    assert p("in front of", (0, 0, 50, 112), level) > 0.5


def test_what_looks_small_for_its_kind_is_farther_away():
    level = (0, 0, 50, 100)
    assert p("behind", level, level, subject_name="bus", object_name="cup") > 0.65
    assert p("in front of", level, level, subject_name="coffee cup", object_name="bus") > 0.65
    unknown = p("behind", level, level, subject_name="zorblat", object_name="cup")
    assert unknown == p("behind", level, level)
    # ln(0.7 / 0.2) of a dog and a tennis racket of the same size in the picture
    expected = 1 / (1 + np.exp(0.242 - 0.650 * np.log(0.45 / 0.2)))
    found = p("behind", level, level, subject_name="dog", object_name="tennis racket")
    assert found == pytest.approx(expected)


def overlapping(share):
    """Unit boxes in a row; P(left) = 1 - overlap**2 / 2."""
    return [0, 0, 1, 1], [1 - share, 0, 2 - share, 1]


def test_left_of_is_even_where_three_in_four_points_lie_left():
    # beside each other, so that little of either lies in the other: 0.5 of the height is shared
    a, b = overlapping(np.sqrt(0.5))
    assert p("left of", a, moved(b, dy=0.5)) == pytest.approx(0.5)
    assert p("left of", *overlapping(0.0)) == pytest.approx(0.97)
    assert p("right of", *overlapping(0.0)) == pytest.approx(0.03)


def test_left_of_is_even_at_three_in_five_for_one_box_inside_the_other():
    plate, inside = [0, 0, 10, 10], [3, 4, 5, 6]
    assert p("left of", inside, plate) == pytest.approx(0.5)
    assert p("left of", moved(inside, dx=-1), plate) > 0.5 > p("left of", [3, 4, 6, 6], plate)


@pytest.mark.parametrize(
    ("relation", "a", "b", "expected"),
    [
        # margin 0.5 of (0.875 - 0.75) / 0.25 at slope 4.3; margin -1 at slope 1.5
        ("left of", (0, 0, 1, 1), (0.5, 0.9, 1.5, 1.9), 1 / (1 + np.exp(-2.15))),
        ("left of", (0, 0, 1, 1), (0, 5, 1, 6), 1 / (1 + np.exp(1.5))),
        # half of the way from the cut to a textbook case at slope 2.2; stacked at slope 1.6
        ("next to", (0, 0, 8, 8), (11, 0, 19, 8), 1 / (1 + np.exp(-1.1))),
        ("next to", (0, 0, 8, 8), (0, 7, 8, 15), 1 / (1 + np.exp(1.6 * 0.15 / 0.35))),
        ("in", (0, 0, 10, 10), (2.25, -20, 60, 60), 1 / (1 + np.exp(-1.9 * 0.5))),
        ("in", (0, 0, 10, 10), (5.5, -20, 60, 60), 1 / (1 + np.exp(0.8 * 0.1 / 0.45))),
    ],
)
def test_slopes_are_those_that_people_were_found_to_have(relation, a, b, expected):
    assert p(relation, a, b) == pytest.approx(expected, abs=1e-6)


def test_above_is_even_where_eleven_in_twenty_points_lie_above():
    a, b = overlapping(np.sqrt(0.9))
    turned = [np.array(c)[[1, 0, 3, 2]] for c in (a, b)]
    assert p("above", *turned) == pytest.approx(0.5)
    assert p("above", [0, 0, 1, 1], [5, 2, 6, 3]) == pytest.approx(0.95)


# a table from x 20 to 80, top edge at 60
TABLE = (20, 60, 80, 100)


@pytest.mark.parametrize(
    ("relation", "a", "b", "holds"),
    [
        ("on", (40, 40, 50, 64), TABLE, True),  # a bottle stands on it
        ("on", (40, 5, 50, 25), TABLE, False),  # a lamp hangs over it
        ("on", (0, 40, 25, 64), TABLE, False),  # mostly beside it
        ("on", (40, 90, 50, 110), TABLE, False),  # in front of its legs
        ("in", (30, 70, 50, 90), TABLE, True),
        ("in", TABLE, (30, 70, 50, 90), False),  # the larger is not in the smaller
        ("in", (70, 70, 100, 90), TABLE, False),
        ("under", (40, 85, 60, 105), TABLE, True),
        ("under", (100, 85, 120, 105), TABLE, False),
        ("under", (40, 20, 60, 50), TABLE, False),
        ("next to", (85, 60, 110, 100), TABLE, True),
        ("next to", (40, 20, 60, 60), TABLE, False),  # stacked
        ("next to", (200, 60, 230, 100), TABLE, False),  # far
        ("near", (85, 60, 110, 100), TABLE, True),
        ("near", (400, 60, 430, 100), TABLE, False),
        ("in front of", (40, 70, 60, 110), TABLE, True),
        ("behind", (40, 30, 60, 80), TABLE, True),
        ("behind", (40, 70, 60, 110), TABLE, False),
        ("next to", (85, 0, 110, 64), TABLE, False),  # hardly level
        ("touching", (70, 60, 120, 100), TABLE, True),
        ("touching", (85, 60, 120, 100), TABLE, False),
        ("far from", (200, 60, 220, 80), TABLE, True),
        ("far from", (85, 60, 120, 100), TABLE, False),
        ("larger than", (0, 0, 60, 60), TABLE, True),
        ("larger than", (0, 0, 60, 44), TABLE, False),  # as large as
        ("smaller than", (0, 0, 30, 40), TABLE, True),
        ("same size as", (0, 0, 60, 44), TABLE, True),
        ("same size as", (0, 0, 60, 60), TABLE, False),
        ("surrounding", (0, 40, 120, 110), TABLE, True),
        ("surrounding", TABLE, (0, 40, 120, 110), False),
    ],
)
def test_layouts_that_a_person_would_call_so(relation, a, b, holds):
    assert (p(relation, a, b) > 0.5) is holds


@pytest.mark.parametrize(
    ("relation", "a", "b", "agreement"),
    [
        ("on", (40, 35, 50, 79), (20, 50, 80, 120), 0.88),
        ("in", (30, 70, 50, 90), (0, 50, 100, 120), 0.87),
        ("under", (40, 95, 60, 145), (20, 60, 80, 100), 0.86),
        ("next to", (80, 60, 120, 100), (20, 60, 80, 100), 0.80),
        ("near", (80, 60, 120, 100), (20, 60, 80, 100), 0.73),
        ("wearing", (0, 0, 50, 100), (10, 10, 20, 20), 0.90),
        ("surrounding", (0, 0, 100, 100), (40, 40, 60, 60), 0.85),
        ("far from", (0, 0, 10, 10), (90, 0, 100, 10), 0.85),
        ("touching", (0, 0, 50, 50), (10, 0, 60, 50), 0.70),
        ("larger than", (0, 0, 50, 50), (60, 0, 80, 20), 0.85),
        ("same size as", (0, 0, 50, 50), (60, 0, 110, 50), 0.75),
        ("between", (50, 0, 60, 40), (0, 0, 40, 40), 0.85),
    ],
)
def test_a_textbook_case_is_as_sure_as_people_agree(relation, a, b, agreement):
    assert p(relation, a, b) == pytest.approx(agreement, abs=1e-3)


@pytest.mark.parametrize("relation", RULED)
@given(box(), box())
@settings(max_examples=30, deadline=None)
def test_nothing_is_claimed_beyond_what_people_confirm(relation, a, b):
    most = {"left of": 0.97, "right of": 0.97, "above": 0.95, "below": 0.95}.get(relation, 0.9)
    assert 1 - most - 1e-9 <= p(relation, a, b) <= most + 1e-9


@pytest.mark.parametrize(
    ("name", "flowers", "holds"),
    [
        ("vase", (42, 20, 58, 75), True),  # most of them stick out of it
        ("flower vase", (42, 20, 58, 75), True),
        ("table", (42, 20, 58, 75), False),
        (None, (42, 20, 58, 75), False),
        ("vase", (42, 20, 58, 62), False),  # above it
        ("vase", (42, 20, 58, 108), False),  # in front of it, down to below its bottom
        ("vase", (70, 20, 90, 75), False),  # beside it
    ],
)
def test_what_is_in_a_vessel_may_stick_out_at_the_top(name, flowers, holds):
    assert (p("in", flowers, (40, 60, 60, 100), object_name=name) > 0.5) is holds


def test_in_a_shirt_is_around_the_shirt():
    man, shirt = (0, 0, 40, 100), (5, 20, 35, 60)
    assert p("in", man, shirt) < 0.5
    assert p("in", man, shirt, object_name="red shirt") == p("wearing", man, shirt) > 0.5
    assert p("wearing", man, (30, 20, 60, 60)) < 0.5


@pytest.mark.parametrize(
    ("cat", "tree", "other", "holds"),
    [
        ((45, 40, 55, 60), (0, 0, 20, 60), (80, 0, 100, 60), True),
        ((45, 40, 55, 60), (80, 0, 100, 60), (0, 0, 20, 60), True),
        ((25, 35, 35, 45), (0, 0, 60, 20), (0, 60, 60, 80), True),  # one above, one below
        ((110, 40, 120, 60), (0, 0, 20, 60), (80, 0, 100, 60), False),  # beyond the second
        ((5, 40, 15, 60), (0, 0, 20, 60), (80, 0, 100, 60), False),  # at the first
        ((45, 120, 55, 140), (0, 0, 20, 60), (80, 0, 100, 60), False),  # well below both
    ],
)
def test_between_is_after_one_end_and_before_the_other(cat, tree, other, holds):
    assert (p("between", cat, tree, second=other) > 0.5) is holds


def test_between_needs_both_ends():
    with pytest.raises(InputError, match="needs the boxes of both ends"):
        relation_scores("spatial", "between", TABLE, TABLE)
    with pytest.raises(InputError, match="3 second boxes for 1 pairs"):
        relation_scores("spatial", "between", TABLE, TABLE, second=[TABLE] * 3)


def test_touching_from_above_is_unsure_as_support_shows_in_an_overlap():
    assert 0.35 < p("on", (40, 40, 50, 60), TABLE) < 0.5


def test_equal_boxes_have_no_side():
    for relation in ("left of", "right of", "above", "below", "in"):
        assert p(relation, TABLE, TABLE) < 0.5


def test_depth_decides_front_and_behind_when_there_is_some():
    lower, higher = (40, 70, 60, 110), (40, 30, 60, 80)
    assert p("in front of", higher, lower) < 0.5
    assert p("in front of", higher, lower, depth=([0.9], [0.3])) > 0.5
    assert p("behind", higher, lower, depth=([0.9], [0.3])) < 0.5
    assert p("behind", lower, higher, depth=[0.2, 0.6]) > 0.5
    # an unknown depth falls back on the boxes
    unknown = p("in front of", higher, lower, depth=([np.nan], [0.3]))
    assert unknown == p("in front of", higher, lower)


def test_boxes_without_extent_have_a_place_like_others():
    point, other = (5, 5, 5, 5), (9, 5, 9, 5)
    assert p("left of", point, other) > 0.9
    assert p("left of", point, point) < 0.5
    assert p("in", (5, 5, 5, 5), (0, 0, 10, 10)) > 0.5
    for relation in protocol_rules("spatial"):
        assert np.isfinite(p(relation, point, point))


@given(st.lists(st.integers(0, 12), min_size=4, max_size=4))
def test_precedes_is_the_share_of_point_pairs_in_order(ends):
    a, b = sorted(ends[:2]), sorted(ends[2:])

    def points(low, high):
        return np.array([low]) if low == high else low + (high - low) * (np.arange(400) + 0.5) / 400

    u, v = points(*a)[:, None], points(*b)[None, :]
    expected = np.mean((u < v) + 0.5 * (u == v))
    found = precedes(*(np.array([float(x)]) for x in (*a, *b)))[0]
    assert found == pytest.approx(expected, abs=2e-3)


def test_a_fifth_of_the_depth_is_a_clear_case_and_a_tenth_is_not():
    subject, other = [[0, 0, 10, 10]] * 3, [[20, 0, 30, 10]] * 3
    nearness = (np.array([0.6, 0.7, 0.9]), np.full(3, 0.5))
    tenth, fifth, more = relation_scores("spatial", "in front of", subject, other, depth=nearness)
    assert tenth < fifth == pytest.approx(more)
