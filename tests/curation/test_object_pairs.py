from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.curation.filters.scop import (
    MinimalOverlap,
    SizeBalance,
    SpatialClarity,
    VisualSignificance,
)
from t2i_spatial.curation.object_pairs import inverse_words, make_pairs, relation_words, triples
from t2i_spatial.curation.selection import select
from tests.curation.runs import pair

GOLDEN = Path(__file__).parent / "golden" / "scop.npz"


def tables(boxes, images, min_area=1024.0):
    """Candidates of boxes (image id, object id, label, x, y, w, h) and images (id, w, h)."""
    columns = ("image_id", "object_id", "label", "x", "y", "w", "h")
    schema = dict.fromkeys(columns, pl.Float64) | {
        "image_id": pl.Int64, "object_id": pl.Int64, "label": pl.String,
    }  # fmt: skip
    objects = pl.DataFrame(boxes, schema=schema, orient="row").with_columns(score=pl.lit(1.0))
    pictures = pl.DataFrame(
        [(i, f"{i}.jpg", f"{i}.jpg", w, h) for i, w, h in images],
        schema={"image_id": pl.Int64, "image": pl.String, "path": pl.String, "width": pl.Int32,
                "height": pl.Int32},
        orient="row",
    )  # fmt: skip
    return make_pairs(objects.lazy(), pictures.lazy(), min_area=min_area)


@pytest.mark.parametrize("thresholds", ["published", "best_geneval"])
def test_the_source_keeps_the_same_pairs_with_the_same_triples(tmp_path, thresholds):
    golden = np.load(GOLDEN)
    names, words = golden["names"].tolist(), golden["words"].tolist()
    boxes = [
        (image, number, names[category - 1], *(v / 100 for v in xywh))
        for image, number, category, *xywh in golden["boxes"].tolist()
    ]
    candidates = tables(boxes, golden["images"].tolist())
    rule = {"filter": "scop", "thresholds": thresholds}
    selection = select(candidates, [rule], tmp_path / "selection.parquet")
    kept = (
        selection.frame()
        .filter("kept")
        .join(candidates.collect(), on=["prompt_id", "sample"], how="left", maintain_order="left")
    )
    found = [
        (int(r["prompt_id"]), r["a_id"], r["b_id"], triples(r["a_label"], r["words"], r["b_label"]))
        for r in kept.iter_rows(named=True)
    ]
    label = {number: name for _, number, name, *_ in boxes}
    expected = []
    for image, a, b, *said in golden[thresholds].tolist():
        phrases = [words[code] for code in said if code >= 0]
        forth = [(label[a], phrase, label[b]) for phrase in phrases]
        back = [(label[b], inverse_words(phrase), label[a]) for phrase in phrases]
        expected.append((image, a, b, forth + back))
    assert found == expected
    assert len(found) == {"published": 95, "best_geneval": 22}[thresholds]


A = (0, 0, 100, 100)
BOTH = ["to the left of and above", "above and to the left of"]


@pytest.mark.parametrize(
    ("b", "words"),
    [
        ((150, 0, 100, 100), ["to the left of"]),
        ((90, 90, 100, 100), BOTH),
        ((60, 90, 100, 100), ["above"]),
        ((90, 60, 100, 100), ["to the left of"]),
        ((0, 0, 100, 100), ["below"]),
        ((50, 50, 100, 100), ["above"]),
        ((150, 150, 100, 100), BOTH),
    ],
)
def test_words_of_a_to_b(b, words):
    assert pair(A, b).select(relation_words()).item().to_list() == words


@pytest.mark.parametrize(
    ("rule", "b", "keeps"),
    [
        (SpatialClarity(), (282, 0, 100, 100), True),
        (SpatialClarity(), (283, 0, 100, 100), False),
        (MinimalOverlap(), (71, 0, 100, 100), True),
        (MinimalOverlap(), (70, 0, 100, 100), False),
        (MinimalOverlap(), (100, 0, 100, 100), True),
        (SizeBalance(), (150, 0, 71, 71), True),
        (SizeBalance(), (150, 0, 70, 70), False),
    ],
)
def test_thresholds_lie_where_the_source_has_them(rule, b, keeps):
    assert pair(A, b).select(rule.keep()).item() is keeps


def test_visual_significance_counts_an_overlap_twice():
    rule = VisualSignificance()
    assert pair(A, A, 300, 300).select(rule.keep()).item() is True
    assert pair(A, A, 640, 480).select(rule.keep()).item() is False
    assert pair(A, A, 100, 1000).select(rule.keep()).item() is True  # exactly 0.2


def test_each_criterion_gives_its_own_reason(tmp_path):
    far, big = (500, 0, 40, 40), (0, 0, 200, 200)
    boxes = [
        (1, 1, "cat", *far), (1, 2, "dog", 0, 400, 40, 40),
        (2, 3, "cat", *big), (2, 4, "cat", 220, 0, 200, 200),
        (3, 5, "cat", *big), (3, 6, "dog", 1000, 0, 200, 200),
        (4, 7, "cat", *big), (4, 8, "dog", 50, 0, 200, 200),
        (5, 9, "cat", *big), (5, 10, "dog", 220, 0, 100, 100),
        (6, 11, "cat", *big), (6, 12, "dog", 220, 0, 200, 200),
    ]  # fmt: skip
    images = [(1, 640, 480), (2, 640, 480), (3, 1200, 300), (4, 640, 480), (5, 400, 400),
              (6, 640, 480)]  # fmt: skip
    table = select(tables(boxes, images), ["scop"], tmp_path / "s.parquet").frame()
    assert table.select("filter", "reason").rows() == [
        ("visual_significance", "boxes cover 0.01 of the image < 0.2"),
        ("semantic_distinction", "both are cat"),
        ("spatial_clarity", "centres are 3.536 diagonals apart > 2"),
        ("minimal_overlap", "0.75 of the smaller box is covered >= 0.3"),
        ("size_balance", "area ratio 0.25 < 0.5"),
        (None, None),
    ]


def test_small_boxes_are_left_out_and_single_ones_make_no_pair():
    boxes = [
        (1, 1, "cat", 0, 0, 32, 32),
        (1, 2, "dog", 0, 0, 32, 31.9),
        (1, 3, "cup", 0, 0, 64, 64),
        (2, 4, "cat", 0, 0, 99, 99),
    ]
    rows = tables(boxes, [(1, 99, 99), (2, 99, 99), (3, 99, 99)]).collect()
    assert rows.select("prompt_id", "sample", "a_id", "b_id").rows() == [("1", 0, 1, 3)]
    assert rows["n_objects"].to_list() == [3]
    assert tables([], []).collect().is_empty()


def test_pairs_are_numbered_in_the_order_of_annotation():
    boxes = [(7, k, name, 0, 0, 50, 50) for k, name in ((3, "a"), (1, "b"), (2, "c"))]
    rows = tables(boxes, [(7, 99, 99)]).collect()
    assert rows.select("sample", "a_id", "b_id").rows() == [(0, 3, 1), (1, 3, 2), (2, 1, 2)]


side = st.integers(1, 200)
boxes = st.tuples(st.integers(0, 400), st.integers(0, 400), side, side)


@settings(max_examples=150, deadline=None)
@given(boxes, boxes)
def test_the_mirror_image_swaps_left_and_right_and_nothing_else(a, b):
    centre_a, centre_b = 2 * a[0] + a[2], 2 * b[0] + b[2]
    if centre_a == centre_b:
        return  # a tie is "right of" on either side, as in the source
    flipped = [(1000 - x - w, y, w, h) for x, y, w, h in (a, b)]
    swap = {"to the left of": "to the right of", "to the right of": "to the left of"}
    words = pair(a, b).select(relation_words()).item().to_list()
    mirrored = pair(*flipped).select(relation_words()).item().to_list()
    assert [" and ".join(swap.get(p, p) for p in w.split(" and ")) for w in words] == mirrored


@settings(max_examples=100, deadline=None)
@given(boxes, boxes, st.sampled_from([0.5, 2.0, 4.0]))
def test_scaling_image_and_boxes_changes_no_criterion(a, b, factor):
    scaled = [tuple(v * factor for v in box) for box in (a, b)]
    rules = [VisualSignificance(), SpatialClarity(), MinimalOverlap(), SizeBalance()]
    first = pair(a, b).select(rule.keep().alias(rule.name) for rule in rules)
    image = (int(640 * factor), int(480 * factor))
    second = pair(*scaled, *image).select(rule.keep().alias(rule.name) for rule in rules)
    assert first.equals(second)
