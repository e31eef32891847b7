from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics import PROTOCOLS, T2ICompBench2D
from t2i_spatial.metrics import labels as label_table
from t2i_spatial.metrics.labels import add_aliases, canonical_label, label_names
from t2i_spatial.metrics.t2i_compbench_numeracy import is_duplicate
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import DETECTIONS, prompts_to_table
from tests.builders import box, detection_rows, detections

PAIR_RELATIONS = {
    "on the left of": "left of",
    "on the top of": "above",
    "on top of": "on",
    "next to": "next to",
    "in front of": "in front of",
    "hidden by": "behind",
}


def prompt(a, phrase, b):
    relation = PAIR_RELATIONS[phrase]
    scene = SceneSpec((ObjectSpec(a), ObjectSpec(b)), (RelationSpec(0, relation, 1, phrase),))
    return Prompt("0", f"a {a} {phrase} a {b}", relation, scene)


def judge(protocol, asked, *items, size=(480, 480), depths=None):
    rows = detection_rows({("0", 0): detections(*items, size=size)})
    if depths:
        found = [
            {**d, "depth": v} for d, v in zip(rows["detections"][0].to_list(), depths, strict=True)
        ]
        rows = rows.with_columns(pl.Series("detections", [found], dtype=DETECTIONS["detections"]))
    return PROTOCOLS[protocol]().judge(prompts_to_table([asked]), rows).row(0, named=True)


CAT, DOG = box("cat", 0, 0, 50, 50, 0.8), box("dog", 100, 0, 150, 50, 0.6)


def test_the_image_score_is_a_quarter_of_each_confidence_and_half_of_the_position():
    verdict = judge("t2i_compbench_2d", prompt("cat", "on the left of", "dog"), CAT, DOG)
    assert verdict["value"] == pytest.approx(0.2 + 0.15 + 0.5)
    assert verdict["correct"] is True
    assert verdict["margin"] == pytest.approx(0.35)


def test_quirk_scores_below_one_half_become_zero():
    wrong = judge("t2i_compbench_2d", prompt("dog", "on the left of", "cat"), CAT, DOG)
    assert (wrong["value"], wrong["correct"]) == (0, False)
    assert wrong["margin"] == pytest.approx(0.35 - 0.5)
    alone = judge(
        "t2i_compbench_2d", prompt("cat", "on the left of", "dog"), box("cat", 0, 0, 9, 9, 1)
    )
    assert alone["value"] == 0


def test_quirk_two_certain_boxes_on_the_wrong_side_score_one_half():
    sure = box("cat", 0, 0, 50, 50, 1.0), box("dog", 100, 0, 150, 50, 1.0)
    assert judge("t2i_compbench_2d", prompt("dog", "on the left of", "cat"), *sure)["value"] == 0.5


def test_quirk_on_top_of_is_recognised_and_worth_nothing():
    over = box("cat", 0, 0, 50, 50, 0.8), box("dog", 0, 100, 50, 150, 0.6)
    asked = prompt("cat", "on top of", "dog")
    assert judge("t2i_compbench_2d", asked, *over)["value"] == 0
    assert judge("t2i_compbench_2d_fixed", asked, *over)["value"] > 0.5
    the_top = judge("t2i_compbench_2d", prompt("cat", "on the top of", "dog"), *over)
    assert the_top["value"] > 0.5


def test_quirk_labels_must_be_equal_and_fixed_knows_aliases():
    asked = prompt("sofa", "on the left of", "cow")
    found = box("couch", 0, 0, 50, 50), box("cattle, cow", 100, 0, 150, 50)
    assert judge("t2i_compbench_2d", asked, *found)["reason"] == "neither sofa nor cow found"
    assert judge("t2i_compbench_2d_fixed", asked, *found)["correct"]


def test_quirk_girls_and_boys_are_people():
    asked = prompt("girl", "on the left of", "boy")
    found = box("person", 0, 0, 50, 50), box("person", 100, 0, 150, 50)
    # one label for both: the same box twice, so nobody is left of anybody
    assert judge("t2i_compbench_2d", asked, *found)["components"][0]["value"] == 0


def test_the_most_confident_box_of_a_label_counts():
    better = box("cat", 200, 0, 250, 50, 0.9)
    verdict = judge("t2i_compbench_2d", prompt("cat", "on the left of", "dog"), CAT, better, DOG)
    assert verdict["value"] == 0
    assert verdict["evidence"][0]["box"] == [200, 0, 250, 50]


@pytest.mark.parametrize(
    ("size", "frame"),
    [
        ((512, 512), (479, 479)),
        ((1024, 1024), (479, 479)),
        ((640, 480), (480, 360)),
        ((480, 640), (360, 480)),
        ((512, 513), (479, 479)),
    ],
)
def test_quirk_distances_are_measured_in_the_detectors_frame(size, frame):
    # 200 pixels apart on both axes, in the frame of the detector
    apart = np.array([200.0, 200.0]) * np.array(size) / np.array(frame)
    found = box("cat", 0, 0, 10, 10, 0.8), box("dog", apart[0], apart[1], *(apart + 10), 0.6)
    verdict = judge("t2i_compbench_2d", prompt("cat", "next to", "dog"), *found, size=size)
    assert verdict["components"][0]["value"] == pytest.approx(150 / 200)


def test_the_size_of_the_picture_must_be_known():
    rows = detection_rows({("0", 0): detections(CAT, DOG)}).with_columns(
        pl.lit(None, pl.Int32).alias("width")
    )
    prompts = prompts_to_table([prompt("cat", "next to", "dog")])
    verdict = T2ICompBench2D().judge(prompts, rows).row(0, named=True)
    assert verdict["status"] == "detector_failed"
    assert "size" in verdict["reason"]


def test_3d_takes_the_last_hit_before_both_are_set():
    asked = prompt("cat", "in front of", "dog")
    found = (
        box("cat", 0, 0, 10, 10, 0.9),
        box("cat", 20, 0, 30, 10, 0.8),
        box("dog", 20, 0, 30, 10, 0.7),
        box("cat", 40, 0, 50, 10, 0.6),
    )
    verdict = judge("t2i_compbench_3d", asked, *found, depths=[0.1, 0.9, 0.5, 0.1])
    assert [e["box"][0] for e in verdict["evidence"]] == [20, 20]
    assert verdict["value"] == pytest.approx(0.8 / 4 + 0.7 / 4 + 0.5)
    fixed = judge("t2i_compbench_3d_fixed", asked, *found, depths=[0.1, 0.9, 0.5, 0.1])
    assert [e["box"][0] for e in fixed["evidence"]] == [0, 20]


def test_quirk_3d_matches_parts_of_words():
    asked = prompt("car", "hidden by", "dog")
    found = box("carpet", 0, 0, 10, 10, 0.9), box("dog", 0, 0, 10, 10, 0.7)
    assert judge("t2i_compbench_3d", asked, *found, depths=[0.1, 0.9])["correct"]
    fixed = judge("t2i_compbench_3d_fixed", asked, *found, depths=[0.1, 0.9])
    assert fixed["reason"] == "no car found"


def test_quirk_3d_has_no_cut():
    one = judge("t2i_compbench_3d", prompt("cat", "in front of", "dog"), CAT, depths=[0.5])
    assert one["value"] == pytest.approx(0.2)


def test_3d_without_depth_has_no_verdict():
    verdict = judge("t2i_compbench_3d", prompt("cat", "in front of", "dog"), CAT, DOG)
    assert verdict["status"] == "detector_failed" and "depth" in verdict["reason"]


@pytest.mark.parametrize(
    ("b", "same"),
    [
        ((0, 0, 100, 100), True),
        ((10, 10, 20, 20), True),
        ((0, 0, 100, 90), True),
        ((50, 0, 150, 100), False),
        ((90, 0, 190, 100), False),
    ],
)
def test_numeracy_duplicates(b, same):
    assert is_duplicate(np.array([0.0, 0, 100, 100]), np.array([b], float)).tolist() == [same]


def numeracy(protocol, objects, *items):
    asked = Prompt("0", "text", None, SceneSpec(tuple(ObjectSpec(n, c) for n, c in objects)))
    return judge(protocol, asked, *items)


def cats(n, label="cat"):
    return [box(label, 60 * k, 0, 60 * k + 50, 50, 0.9) for k in range(n)]


@pytest.mark.parametrize(
    ("n", "value", "fixed"), [(0, 0, 0), (1, 0.5, 0.5 + 1 / 6), (3, 1, 1), (4, 0.5, 0.5 + 1 / 3)]
)
def test_numeracy_gives_half_for_presence_and_half_for_the_number(n, value, fixed):
    verdict = numeracy("t2i_compbench_numeracy", [("cat", 3)], *cats(n))
    assert verdict["value"] == value
    assert verdict["correct"] is (n == 3)
    assert (verdict["margin"] > 0) is (n == 3)
    graded = numeracy("t2i_compbench_numeracy_fixed", [("cat", 3)], *cats(n))
    assert graded["value"] == pytest.approx(fixed)


def test_numeracy_is_the_mean_over_what_is_asked_by_number():
    verdict = numeracy("t2i_compbench_numeracy", [("cat", 2), ("dog", 1), ("tree", None)], *cats(2))
    assert verdict["value"] == 0.5
    none = numeracy("t2i_compbench_numeracy", [("tree", None)], *cats(2))
    assert none["status"] == "not_applicable"


def test_quirk_numeracy_counts_a_label_that_contains_the_noun():
    found = cats(2, "pencil case")
    assert numeracy("t2i_compbench_numeracy", [("pen", 2)], *found)["value"] == 1
    assert numeracy("t2i_compbench_numeracy_fixed", [("pen", 2)], *found)["value"] == 0
    # but not where the noun itself is a label
    both = numeracy("t2i_compbench_numeracy", [("pen", 2)], *found, box("pen", 0, 200, 9, 209))
    assert both["value"] == 0.5


def test_numeracy_duplicates_are_dropped_within_a_label():
    twice = box("cat", 0, 0, 50, 49, 0.5)
    assert numeracy("t2i_compbench_numeracy", [("cat", 2)], *cats(2), twice)["value"] == 1


@pytest.mark.parametrize(
    "name", [n for n in PROTOCOLS if n.startswith(("t2i_compbench_2d", "t2i_compbench_3d"))]
)
def test_prompts_without_a_known_phrase_are_not_applicable(name):
    scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "under", 1),))
    verdict = judge(name, Prompt("0", "a cat under a dog", None, scene), CAT, DOG)
    assert verdict["status"] == "not_applicable"


def test_summaries_give_the_mean_and_count_missing_images_as_zero():
    asked = prompt("cat", "on the left of", "dog")
    rows = detection_rows({("0", 0): detections(CAT, DOG)}, {("0", 1): "image_missing"})
    prompts = prompts_to_table([asked])
    protocol = T2ICompBench2D()
    verdicts = protocol.judge(prompts, rows)
    assert protocol.summarize(verdicts, prompts)["score"]["value"] == pytest.approx(0.425)
    allowed = protocol.summarize(verdicts, prompts, allow_missing=True)
    assert allowed["score"]["value"] == pytest.approx(0.85)
    assert allowed["by_relation"]["on the left of"]["score"]["value"] == pytest.approx(0.85)


def test_the_alias_table_can_be_extended_but_not_contradicted(monkeypatch):
    monkeypatch.setattr(label_table, "_CANONICAL", dict(label_table._CANONICAL))
    canonical_label.cache_clear()
    add_aliases("zebra", "striped horse")
    assert canonical_label("Striped_Horse") == "zebra"
    assert label_names("mouse2, rat") == {"mouse", "rat"}
    with pytest.raises(InputError, match="already means"):
        add_aliases("zebra", "sofa")
    with pytest.raises(InputError, match="two names"):
        add_aliases("zebra")
    canonical_label.cache_clear()
