"""The rules of `spatial`: symmetries, monotone, 0.5 on the cut, and what they say of layouts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.metrics.geometry import precedes
from t2i_spatial.metrics.relations import protocol_rules, relation_scores
from t2i_spatial.metrics.spatial_rules import AGREEMENT

MIRROR = {"left of": "right of", "right of": "left of"}
coordinate = st.integers(0, 60)
size = st.integers(0, 40)


@st.composite
def box(draw, least=0):
    x, y = draw(coordinate), draw(coordinate)
    return np.array(
        [x, y, x + draw(st.integers(least, 40)), y + draw(st.integers(least, 40))], float
    )


def p(relation, a, b, **options):
    return float(relation_scores("spatial", relation, a, b, **options)[0])


def moved(a, dx=0.0, dy=0.0):
    return np.asarray(a, float) + np.array([dx, dy, dx, dy])


@pytest.mark.parametrize("relation", protocol_rules("spatial"))
@given(box(), box())
@settings(max_examples=60, deadline=None)
def test_probabilities_ignore_place_and_scale_and_follow_a_mirror(relation, a, b):
    value = p(relation, a, b)
    assert 0 <= value <= 1
    assert p(relation, moved(a, 128, 64), moved(b, 128, 64)) == pytest.approx(value, abs=1e-9)
    assert p(relation, a * 7, b * 7) == pytest.approx(value, abs=1e-9)
    flip = [np.array([100 - c[2], c[1], 100 - c[0], c[3]]) for c in (a, b)]
    assert p(MIRROR.get(relation, relation), *flip) == pytest.approx(value, abs=1e-9)


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


@pytest.mark.parametrize(("first", "second"), [("left of", "right of"), ("above", "below")])
@given(box(), box())
@settings(max_examples=60, deadline=None)
def test_a_direction_is_its_opposite_from_the_other_side(first, second, a, b):
    assert p(first, a, b) == pytest.approx(p(second, b, a), abs=1e-12)
    assert not (p(first, a, b) > 0.5 and p(second, a, b) > 0.5)


@given(box(), box())
@settings(max_examples=60, deadline=None)
def test_in_front_and_behind_exclude_each_other(a, b):
    assert not (p("in front of", a, b) > 0.5 and p("behind", a, b) > 0.5)


def test_level_bottom_edges_are_in_front_and_slightly_higher_ones_are_neither():
    level, higher = (0, 0, 50, 100), (0, 0, 50, 97)
    assert p("in front of", level, level) > 0.5
    assert p("in front of", higher, level) < 0.5 and p("behind", higher, level) < 0.5
    assert p("behind", (0, 0, 50, 90), level) > 0.5


@given(box(), box())
@settings(max_examples=60, deadline=None)
def test_next_to_and_near_are_symmetric(a, b):
    for relation in ("next to", "near"):
        assert p(relation, a, b) == pytest.approx(p(relation, b, a), abs=1e-9)


def overlapping(share):
    """Unit boxes in a row; P(left) = 1 - overlap**2 / 2."""
    return [0, 0, 1, 1], [1 - share, 0, 2 - share, 1]


def test_left_of_is_even_where_seven_in_ten_points_lie_left():
    assert p("left of", *overlapping(np.sqrt(0.6))) == pytest.approx(0.5)
    assert p("left of", *overlapping(0.7)) > 0.5 > p("left of", *overlapping(0.8))
    assert p("left of", *overlapping(0.0)) == pytest.approx(0.97)


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
    ],
)
def test_layouts_that_a_person_would_call_so(relation, a, b, holds):
    assert (p(relation, a, b) > 0.5) is holds


@pytest.mark.parametrize(
    ("relation", "a", "b"),
    [
        ("on", (40, 35, 50, 79), (20, 50, 80, 120)),
        ("in", (30, 70, 50, 90), (0, 50, 100, 120)),
        ("under", (40, 95, 60, 145), (20, 60, 80, 100)),
        ("next to", (80, 60, 120, 100), (20, 60, 80, 100)),
        ("near", (80, 60, 120, 100), (20, 60, 80, 100)),
    ],
)
def test_a_textbook_case_is_as_sure_as_people_agree(relation, a, b):
    assert p(relation, a, b) == pytest.approx(AGREEMENT[relation], abs=1e-6)


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
