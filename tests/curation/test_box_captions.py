from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.curation.box_captions import (
    count_tokens,
    long_caption,
    mirror_caption,
    pair_caption,
    scene_of_boxes,
)
from t2i_spatial.curation.object_pairs import relation_words
from t2i_spatial.curation.recaption import recaption
from t2i_spatial.curation.selection import select
from t2i_spatial.errors import InputError
from t2i_spatial.prompts import parse_prompt
from t2i_spatial.relation_algebra import canonical_key
from tests.curation.runs import pair

NAMES = ("cat", "dog", "teddy bear", "umbrella", "wine glass", "bus", "scissors", "hourglass")
edge = st.integers(1, 200)
box = st.tuples(st.integers(0, 400), st.integers(0, 400), edge, edge)


def holds(relation, a, b):
    """By the centres of xyxy boxes."""
    dx, dy = (a[0] + a[2]) - (b[0] + b[2]), (a[1] + a[3]) - (b[1] + b[3])
    return {"left of": dx < 0, "right of": dx > 0, "above": dy < 0, "below": dy > 0}[relation]


def xyxy(item):
    x, y, w, h = item
    return (x, y, x + w, y + h)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), box), max_size=7))
def test_a_long_caption_is_read_back_as_what_the_boxes_show(items):
    labels, boxes = [name for name, _ in items], [xyxy(b) for _, b in items]
    text = long_caption(labels, boxes)
    scene = scene_of_boxes(labels, boxes)
    if text is None:
        assert not scene.relations
        return
    read = parse_prompt(text)
    assert read.unparsed == ()
    assert canonical_key(read) == canonical_key(scene)
    for relation in read.relations:
        a, b = (read.objects[i].name for i in (relation.subject, relation.object))
        assert labels.count(a) >= 1 <= labels.count(b)
        assert any(
            holds(relation.relation, boxes[i], boxes[j])
            for i, first in enumerate(labels)
            for j, second in enumerate(labels)
            if (first, second) == (a, b)
        )
    for spec in read.objects:
        assert 1 <= spec.count <= labels.count(spec.name)


@settings(max_examples=200, deadline=None)
@given(box, box, st.integers(0, 3), st.sampled_from(["short", "scop"]))
def test_a_pair_caption_is_read_back_as_what_the_boxes_show(a, b, number, template):
    first, second = xyxy(a), xyxy(b)
    if first[0] + first[2] == second[0] + second[2] or first[1] + first[3] == second[1] + second[3]:
        return
    words = pair(a, b).select(relation_words()).item().to_list()
    read = parse_prompt(pair_caption("teddy bear", words, "umbrella", number, template=template))
    assert read.unparsed == ()
    assert {spec.name for spec in read.objects} == {"teddy bear", "umbrella"}
    boxes = {"teddy bear": first, "umbrella": second}
    assert len(read.relations) == len(words[0].split(" and "))
    for relation in read.relations:
        ends = [boxes[read.objects[i].name] for i in (relation.subject, relation.object)]
        assert holds(relation.relation, *ends)


def test_scop_wording_is_the_sources():
    words = ["to the right of and below", "below and to the right of"]
    said = [pair_caption("cat", words, "umbrella", n, template="scop") for n in range(4)]
    assert said == [
        "a photo of a cat right of and below an umbrella",
        "a photo of a cat below and right of an umbrella",
        "a photo of an umbrella left of and above a cat",
        "a photo of an umbrella above and left of a cat",
    ]


def test_doubtful_things_are_not_said():
    overlapping = [(0, 0, 100, 100), (20, 10, 120, 110)]
    assert scene_of_boxes(["cat", "dog"], overlapping).relations == ()
    assert long_caption(["cat", "dog"], overlapping) is None
    assert long_caption([], np.zeros((0, 4))) is None
    two_dogs = [(0, 0, 10, 10), (50, 0, 60, 10), (90, 0, 99, 10)]
    scene = scene_of_boxes(["cat", "dog", "dog"], two_dogs)
    assert [(o.name, o.count) for o in scene.objects] == [("cat", 1), ("dog", 2)]
    assert scene.relations == ()


def test_one_object_found_twice_is_one_object():
    boxes = [(0, 0, 50, 50), (2, 2, 50, 50), (100, 0, 150, 50)]
    scene = scene_of_boxes(["cat", "cat", "dog"], boxes)
    assert [o.count for o in scene.objects] == [1, 1]
    assert [(r.subject, r.relation, r.object) for r in scene.relations] == [(0, "left of", 1)]


def test_what_follows_is_not_repeated():
    boxes = [(0, 0, 10, 100), (50, 0, 60, 100), (90, 0, 100, 100)]
    scene = scene_of_boxes(["cat", "dog", "bus"], boxes)
    assert len(scene.relations) == 3  # the clearest first: the outer two, then both neighbours
    assert scene_of_boxes(["cat", "dog", "bus"], boxes, most_relations=1).relations[0].subject == 0
    assert len(scene_of_boxes(["cat", "dog", "bus"], boxes, most_objects=2).objects) == 2


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("a cat to the left of a dog", "a cat to the right of a dog"),
        ("A cat. Left of the cat is a dog.", "A cat. Right of the cat is a dog."),
        ("a dog above and to the right of a bus", "a dog above and to the left of a bus"),
        ("a dog above a bus", "a dog above a bus"),
        ("a cat on the left and a dog on the right", "a cat on the right and a dog on the left"),
        ("a cat right next to a dog", None),
        ("the leftmost cat is red", None),
        ("a cat to the left of a dog, rightmost is a bird", None),
        ("a copyright sign", "a copyright sign"),
        ("a man washing a horse to the left of a tree", None),
        ("", None),
    ],
)
def test_mirrored_captions_swap_the_words_or_are_not_made(text, mirrored):
    assert mirror_caption(text) == mirrored


@settings(max_examples=100, deadline=None)
@given(box, box, st.integers(0, 3))
def test_mirroring_twice_gives_the_caption_back(a, b, number):
    words = pair(a, b).select(relation_words()).item().to_list()
    text = pair_caption("cat", words, "dog", number)
    once = mirror_caption(text)
    assert once is not None
    assert mirror_caption(once) == text


def test_tokens_are_counted_exactly_with_a_tokenizer():
    class Tokenizer:
        def __call__(self, text):
            return {"input_ids": list(text)}

    assert count_tokens("a cat", Tokenizer()) == 5
    assert count_tokens("") == 2
    assert count_tokens("a photo of a teddy bear, 2 cups & hippopotamuses!") == 2 + 9 + 2 + 1 + 1


def candidates(n=10):
    boxes = {"a_x": 10.0, "a_y": 10.0, "a_w": 20.0, "a_h": 20.0,
             "b_x": 60.0, "b_y": 10.0, "b_w": 20.0, "b_h": 20.0}  # fmt: skip
    return pl.LazyFrame(
        {
            "prompt_id": [str(i) for i in range(n)],
            "sample": pl.Series([0] * n, dtype=pl.Int32),
            "image": ["x.png"] * n,
            "text": ["two animals"] * n,
            "correct": [True] * (n - 1) + [False],
            "verdict": ["wrong"] * n,
            "a_label": ["cat"] * n,
            "b_label": ["dog"] * n,
        }
    ).with_columns(pl.lit(v).alias(k) for k, v in boxes.items())


def chosen(tmp_path, rows=None):
    rows = candidates() if rows is None else rows
    return select(rows, ["correct"], tmp_path / "s.parquet"), rows


def test_captions_from_boxes_tell_the_pair_from_either_side(tmp_path):
    selection, rows = chosen(tmp_path, candidates(60))
    table = recaption(selection, rows, "short").frame()
    said = set(table["caption"].drop_nulls())
    assert said == {"a cat to the left of a dog", "a dog to the right of a cat"}
    assert table["caption"].to_list()[-1] is None
    assert recaption(selection, rows, "short").frame().equals(table)


def test_half_and_half_is_exact_and_seeded(tmp_path):
    selection, rows = chosen(tmp_path, candidates(41))
    half = recaption(selection, rows, "short", percent=50).frame().filter("kept")
    assert (half["caption"] == "two animals").sum() == 20
    other, rows = chosen(tmp_path, candidates(41))
    other = recaption(other, rows, "short", percent=50, seed=1).frame().filter("kept")
    assert not other["caption"].equals(half["caption"])


def test_what_cannot_be_said_is_dropped_and_counted(tmp_path):
    rows = candidates().with_columns(
        pl.when(pl.col("prompt_id") == "3").then(None).otherwise("b_label").alias("b_label")
    )
    selection, rows = chosen(tmp_path, rows)
    found = recaption(selection, rows, "scop")
    assert found.counts() == "10 candidates → 9 correct → 8 captioned"
    row = found.frame().row(3, named=True)
    assert (row["kept"], row["filter"], row["caption"], row["weight"]) == (
        False, "caption", None, None,
    )  # fmt: skip
    assert found.frame().row(9, named=True)["filter"] == "correct"


def test_a_cat_in_the_middle_of_a_bed_is_neither_above_nor_below_it(tmp_path):
    inside = candidates().with_columns(
        pl.lit(10.0).alias("a_y"), pl.lit(5.0).alias("b_x"), pl.lit(0.0).alias("b_y"),
        pl.lit(40.0).alias("b_w"), pl.lit(40.0).alias("b_h"),
    )  # fmt: skip
    selection, rows = chosen(tmp_path, inside)
    assert recaption(selection, rows, "short").kept == 0


def test_long_captions_can_be_dropped(tmp_path):
    rows = candidates().with_columns(
        pl.when(pl.col("prompt_id") == "2")
        .then(pl.lit("word " * 90))
        .otherwise("text")
        .alias("text")
    )
    selection, rows = chosen(tmp_path, rows)
    assert recaption(selection, rows).kept == 9
    found = recaption(selection, rows, drop_long=True)
    assert found.kept == 8
    assert found.frame()["reason"][2] == "the caption has 92 tokens > 77"


def test_wrong_settings_are_refused(tmp_path):
    selection, rows = chosen(tmp_path)
    with pytest.raises(InputError, match="unknown caption 'shot'; did you mean 'short'"):
        recaption(selection, rows, "shot")
    with pytest.raises(InputError, match="from 0 to 100"):
        recaption(selection, rows, percent=120)
