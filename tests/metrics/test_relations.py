"""Pair rules of the peers: parity with what their own functions gave, and every quirk by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.relations import relation_rule, relation_scores

GOLDEN = np.load(Path(__file__).parent / "golden" / "pairs.npz")
PHRASES = {
    "visor": ("to the left of", "to the right of", "above", "below"),
    "geneval": ("left of", "right of", "above", "below"),
    "t2i_compbench_2d": (
        "on the left of", "on the right of", "on the top of", "on the bottom of",
        "next to", "near", "on side of", "on top of",
    ),
}  # fmt: skip
CASES = [(p, k, phrase) for p, phrases in PHRASES.items() for k, phrase in enumerate(phrases)]
UNIT = (0, 0, 100, 100)


@st.composite
def pairs(draw):
    whole = st.integers(0, 40)

    def one():
        x, y, w, h = (draw(whole) for _ in range(4))
        return [x, y, x + w, y + h]

    return np.array([one()], float), np.array([one()], float)


def score(protocol, relation, a, b, **options):
    return relation_scores(protocol, relation, a, b, **options)[0]


@pytest.mark.parametrize(("protocol", "k", "phrase"), CASES)
def test_recorded_outputs_of_the_peers_are_reproduced(protocol, k, phrase):
    found = relation_scores(protocol, phrase, GOLDEN["subject"], GOLDEN["object"])
    assert len(found) == 500
    np.testing.assert_allclose(found, GOLDEN[protocol][:, k], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("b", "holding"),
    [
        ((200, 0, 300, 100), {"left of"}),
        ((40, 0, 140, 100), set()),
        ((41, 0, 141, 100), {"left of"}),
        ((100, 100, 200, 200), {"left of", "above"}),
        ((300, 120, 400, 220), {"left of"}),
        ((10, 60, 110, 160), {"above"}),
        ((0, 0, 100, 100), set()),
    ],
)
def test_quirk_geneval_two_relations_on_a_diagonal_and_none_within_the_margin(b, holding):
    assert {r for r in PHRASES["geneval"] if score("geneval", r, UNIT, b)} == holding


def test_quirk_geneval_containment_has_no_side():
    assert not any(
        score("geneval", r, (0, 0, 400, 400), (100, 100, 200, 200)) for r in PHRASES["geneval"]
    )


@pytest.mark.parametrize(
    ("phrase", "b", "expected"),
    [
        ("on the left of", (20, 0, 120, 100), 0.15),
        ("on the left of", (80, 0, 180, 100), 0.9),
        ("on the left of", (100, 100, 200, 200), 0.0),  # an exact diagonal
        ("on the top of", (0, 80, 100, 180), 0.9),
        ("on top of", (0, 120, 100, 220), 0.0),
    ],
)
def test_t2i_compbench_2d_by_hand(phrase, b, expected):
    assert score("t2i_compbench_2d", phrase, UNIT, b) == pytest.approx(expected, abs=1e-12)


def test_quirk_t2i_compbench_2d_near_is_satisfied_by_one_axis():
    small = (0, 0, 50, 50)
    assert score("t2i_compbench_2d", "next to", small, (400, 0, 450, 50)) == 1
    assert score("t2i_compbench_2d", "next to", small, (300, 300, 350, 350)) == 0.5


def test_quirk_t2i_compbench_2d_on_top_of_never_scores_but_on_the_top_of_does():
    below = (0, 120, 100, 220)
    assert score("t2i_compbench_2d", "on top of", UNIT, below) == 0
    assert score("t2i_compbench_2d", "on the top of", UNIT, below) == 1
    assert score("t2i_compbench_2d_fixed", "on top of", UNIT, below) == 1


def test_quirk_t2i_compbench_2d_distance_is_in_pixels_and_fixed_is_not():
    small, far = np.array([[0, 0, 50, 50.0]]), np.array([[300, 300, 350, 350.0]])
    at = [score("t2i_compbench_2d", "near", k * small, k * far) for k in (1, 2)]
    assert at == [0.5, 0.25]
    fixed = [
        score("t2i_compbench_2d_fixed", "near", k * small, k * far, image_size=(480 * k, 480 * k))
        for k in (1, 2)
    ]
    assert fixed == [0.5, 0.5]


def test_t2i_compbench_2d_fixed_near_needs_both_axes():
    small = (0, 0, 50, 50)
    in_a_row = score(
        "t2i_compbench_2d_fixed", "next to", small, (400, 0, 450, 50), image_size=(480, 480)
    )
    assert in_a_row == pytest.approx(150 / 400)
    with pytest.raises(InputError, match="image_size"):
        relation_scores("t2i_compbench_2d_fixed", "next to", small, small)


def near_half(axis, size=300):
    table = np.zeros((size, size))
    table[(slice(size // 2, None), slice(None))[:: 1 if axis == "bottom" else -1]] = 1.0
    return table


@pytest.mark.parametrize(
    ("phrase", "a", "b", "near", "expected"),
    [
        ("in front of", (160, 0, 240, 100), (0, 0, 80, 100), "right", 0.0),
        ("in front of", (100, 0, 200, 100), (60, 0, 160, 100), "right", 0.0),
        ("in front of", (100, 0, 200, 100), (60, 0, 160, 100), "bottom", 6 / 7),
        ("behind", (60, 0, 160, 100), (100, 0, 200, 100), "bottom", 6 / 7),
        ("hidden", (60, 0, 160, 100), (100, 0, 200, 100), "bottom", 6 / 7),
        ("in front of", (100, 0, 200, 100), (120, 0, 220, 100), "bottom", 0.0),
        ("in front of", (120, 0, 220, 100), (100, 0, 200, 100), "bottom", 1.0),
    ],
)
def test_quirk_t2i_compbench_3d_reads_depth_with_swapped_axes(phrase, a, b, near, expected):
    found = score("t2i_compbench_3d", phrase, a, b, depth=near_half(near))
    assert found == pytest.approx(expected, abs=1e-9)


def test_t2i_compbench_3d_fixed_reads_depth_where_the_box_is():
    right, left = (100, 0, 200, 100), (60, 0, 160, 100)
    assert score("t2i_compbench_3d_fixed", "in front of", right, left, depth=near_half("right"))
    assert not score(
        "t2i_compbench_3d_fixed", "in front of", right, left, depth=near_half("bottom")
    )


def test_quirk_t2i_compbench_3d_an_overlap_of_exactly_one_half_scores_nothing():
    a, b = (0, 0, 2, 1), (0, 0, 1, 1)
    depth = (np.array([0.9]), np.array([0.1]))
    assert score("t2i_compbench_3d", "in front of", a, b, depth=depth) == 0
    assert score("t2i_compbench_3d_fixed", "in front of", a, b, depth=depth) == 1


def test_an_empty_patch_of_depth_scores_nothing():
    point = (5.2, 5.2, 5.4, 5.4)
    found = relation_scores("t2i_compbench_3d", "behind", point, point, depth=np.ones((9, 9)))
    assert found.tolist() == [0]


def test_3d_without_depth_is_refused():
    with pytest.raises(InputError, match="needs depth"):
        relation_scores("t2i_compbench_3d", "behind", UNIT, UNIT)
    with pytest.raises(InputError, match="depths of shape"):
        relation_scores("t2i_compbench_3d", "behind", UNIT, UNIT, depth=(np.ones(3), np.ones(3)))


@pytest.mark.parametrize(
    ("phrase", "canonical"),
    [
        ("to the left of", "left of"),
        ("On the LEFT of", "left of"),
        ("on the top of", "above"),
        ("on the bottom of", "below"),
        ("over", "above"),
    ],
)
def test_aliases_mean_their_canonical_relation(phrase, canonical):
    a, b = GOLDEN["subject"], GOLDEN["object"]
    for protocol in ("visor", "geneval", "t2i_compbench_2d", "spatial"):
        expected = relation_scores(protocol, canonical, a, b)
        assert np.array_equal(relation_scores(protocol, phrase, a, b), expected)


def test_an_unknown_relation_names_those_there_are():
    with pytest.raises(ValueError, match="visor has no relation 'on top of'; it has: left of"):
        relation_scores("visor", "on top of", UNIT, UNIT)
    with pytest.raises(ValueError, match="no relation rules 'geneva'; did you mean 'geneval'"):
        relation_scores("geneva", "left of", UNIT, UNIT)


@pytest.mark.parametrize("protocol", [*PHRASES, "spatial"])
def test_no_pairs_give_no_scores(protocol):
    empty = relation_scores(protocol, "left of", np.empty((0, 4)), [])
    assert empty.shape == (0,) and empty.dtype == np.float64


def test_many_pairs_are_scored_in_blocks_with_the_same_result():
    n = 20_000
    a, b = (np.resize(GOLDEN[k], (n, 4)) for k in ("subject", "object"))
    depth = (np.linspace(0, 1, n), np.linspace(1, 0, n))
    size = (np.linspace(600, 700, n), np.full(n, 600.0))
    for protocol, relation, options in (
        ("spatial", "left of", {}),
        ("spatial", "behind", {"depth": depth}),
        ("t2i_compbench_2d_fixed", "near", {"image_size": size}),
    ):
        whole = relation_scores(protocol, relation, a, b, **options)
        tail = {k: tuple(v[-100:] for v in values) for k, values in options.items()}
        assert np.array_equal(
            whole[-100:], relation_scores(protocol, relation, a[-100:], b[-100:], **tail)
        )


def test_numbers_that_overflow_a_sum_are_still_finite():
    huge = [[0, 0, 1e308, 1e308], [0, 0, 1e308, 1e308]]
    assert relation_scores("visor", "left of", huge, huge).tolist() == [0, 0]


def test_one_box_is_paired_with_all_of_the_other_side():
    many = GOLDEN["object"][:7]
    one = GOLDEN["subject"][:1]
    expected = relation_scores("spatial", "above", np.repeat(one, 7, axis=0), many)
    assert np.array_equal(relation_scores("spatial", "above", one[0], many), expected)
    with pytest.raises(InputError, match="2 subject boxes for 7"):
        relation_scores("spatial", "above", GOLDEN["subject"][:2], many)
    with pytest.raises(InputError, match="7 subject boxes for 0"):
        relation_scores("spatial", "above", many, [])
    with pytest.raises(InputError, match="20000 subject boxes for 30000"):
        relation_scores(
            "spatial", "above", np.resize(many, (20_000, 4)), np.resize(many, (30_000, 4))
        )
    far = relation_scores("spatial", "above", one[0], np.resize(many, (20_000, 4)))
    assert np.array_equal(far[:7], expected)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[0, 0, np.nan, 1]], "not finite"),
        ([[0, 0, np.inf, 1]], "not finite"),
        ([[5, 0, 1, 1]], "inverted"),
        ([[0, 5, 1, 1]], "inverted"),
        ([[0, 0, 1]], "shape"),
    ],
)
def test_broken_boxes_are_refused_on_both_sides(bad, message):
    for arguments in ((bad, [UNIT]), ([UNIT], bad)):
        with pytest.raises(InputError, match=message):
            relation_scores("visor", "left of", *arguments)


@pytest.mark.parametrize("protocol", ["visor", "geneval", "t2i_compbench_2d"])
@given(pairs())
@settings(max_examples=60, deadline=None)
def test_a_mirror_swaps_left_and_right_and_scale_and_place_change_nothing(protocol, both):
    a, b = both
    left = relation_scores(protocol, "left of", a, b)
    mirror = [np.stack([100 - m[:, 2], m[:, 1], 100 - m[:, 0], m[:, 3]], axis=1) for m in (a, b)]
    assert np.array_equal(left, relation_scores(protocol, "right of", *mirror))
    assert np.array_equal(left, relation_scores(protocol, "right of", b, a))
    assert np.array_equal(left, relation_scores(protocol, "left of", a * 4, b * 4))
    assert np.array_equal(left, relation_scores(protocol, "left of", a + 64, b + 64))


def test_a_relation_has_one_rule():
    with pytest.raises(InputError, match="two rules"):
        relation_rule("visor", "left of")(lambda pairs: pairs.subject.x1)


@pytest.mark.parametrize("protocol", ["visor", "geneval", "spatial", "t2i_compbench_2d"])
def test_boxes_may_come_from_a_generator_and_must_be_numbers(protocol):
    cat, dog = [0, 0, 10, 10], [50, 0, 60, 10]
    made = relation_scores(protocol, "left of", (b for b in [cat, cat]), iter([dog, dog]))
    assert np.array_equal(made, relation_scores(protocol, "left of", [cat, cat], [dog, dog]))
    with pytest.raises(InputError, match="object boxes must be numbers of shape"):
        relation_scores(protocol, "left of", [cat], [["a", "b", "c", "d"]])
