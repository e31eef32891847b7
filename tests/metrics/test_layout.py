from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics import Layout
from t2i_spatial.metrics.layout import parse_chain, read_plan
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections

PLAN = {
    "size": [1000, 1000],
    "boxes": [
        {"name": "cat", "box": [0, 0, 200, 200]},
        {"name": "dog", "box": [500, 0, 700, 200]},
    ],
}


def judge(*items, layout=PLAN, size=(500, 500)):
    prompts = prompts_to_table([Prompt("0", "text", metadata={"layout": layout})])
    rows = detection_rows({("0", 0): detections(*items, size=size)})
    return Layout().judge(prompts, rows).row(0, named=True)


def parts(verdict):
    return {c["name"]: c["value"] for c in verdict["components"]}


def test_boxes_where_they_were_planned():
    verdict = judge(box("cat", 0, 0, 100, 100), box("dog", 250, 0, 350, 100))
    assert verdict["value"] == 1 and verdict["correct"]
    assert parts(verdict) == {"iou": 1, "centres": 1, "relations": 1, "found": 1}


def test_a_shifted_and_a_missing_box():
    verdict = judge(box("cat", 50, 0, 150, 100))
    assert verdict["value"] == pytest.approx(1 / 3 / 2)
    assert (verdict["correct"], verdict["reason"]) == (False, "no dog found")
    assert verdict["margin"] == -0.5
    found = parts(verdict)
    assert found["found"] == 0.5
    assert found["relations"] == 0
    assert found["centres"] == pytest.approx((1 - 50 / (500 * 2**0.5)) / 2)


def test_relations_may_be_kept_where_boxes_are_not():
    verdict = judge(box("cat", 200, 300, 250, 350), box("dog", 400, 300, 450, 350))
    assert verdict["value"] == 0 and not verdict["correct"]
    assert parts(verdict)["relations"] == 1
    swapped = judge(box("dog", 200, 300, 250, 350), box("cat", 400, 300, 450, 350))
    assert parts(swapped)["relations"] == 0


@pytest.mark.parametrize("near_first", [True, False])
@pytest.mark.parametrize(
    ("near", "far"),
    [((120, 0, 160, 40), (400, 0, 440, 40)), ((0, 120, 40, 160), (0, 300, 40, 340)),
     ((150, 150, 300, 300), (310, 310, 320, 320))],
)  # fmt: skip
def test_where_nothing_overlaps_the_nearer_centre_is_the_partner(near, far, near_first):
    plan = {"size": [500, 500], "boxes": [{"name": "cat", "box": [0, 0, 100, 100]}]}
    found = [box("cat", *near), box("cat", *far, score=0.95)]
    verdict = judge(*(found if near_first else found[::-1]), layout=plan)
    assert verdict["value"] == 0
    assert [e["box"] for e in verdict["evidence"]] == [list(near)]


def test_the_nearer_centres_win_together_and_an_overlap_beats_them():
    plan = {"size": [500, 500], "boxes": [{"name": "cat", "box": b} for b in
            ([0, 0, 100, 100], [400, 0, 500, 100])]}  # fmt: skip
    # crossed partners would be farther in sum
    left, right = (0, 200, 100, 300), (400, 200, 500, 300)
    verdict = judge(box("cat", *right), box("cat", *left), layout=plan)
    assert [e["box"] for e in verdict["evidence"]] == [list(left), list(right)]
    alone = {"size": [500, 500], "boxes": [{"name": "cat", "box": [0, 0, 100, 400]}]}
    corner, beside = (90, 390, 300, 500), (101, 150, 151, 250)  # overlaps, but is farther away
    verdict = judge(box("cat", *beside), box("cat", *corner), layout=alone)
    assert [e["box"] for e in verdict["evidence"]] == [list(corner)]


def test_boxes_of_one_name_are_matched_one_to_one():
    plan = {"boxes": [{"name": "cat", "box": b} for b in ([0, 0, 0.2, 0.2], [0.6, 0, 0.8, 0.2])]}
    verdict = judge(box("cat", 300, 0, 400, 100), box("cat", 0, 0, 100, 100), layout=plan)
    assert verdict["value"] == pytest.approx(1)
    assert [e["box"][0] for e in verdict["evidence"]] == [0, 300]
    one = judge(box("cat", 0, 0, 100, 100), layout=plan)
    assert parts(one)["found"] == 0.5


def test_a_plan_with_a_single_box_has_no_relations():
    plan = {"boxes": [{"name": "cat", "box": [0, 0, 0.2, 0.2]}]}
    assert parts(judge(box("cat", 0, 0, 100, 100), layout=plan))["relations"] is None


def test_prompts_without_a_plan_are_not_applicable():
    prompts = prompts_to_table([Prompt("0", "text")])
    rows = detection_rows({("0", 0): detections()})
    assert Layout().judge(prompts, rows)["status"].to_list() == ["not_applicable"]


@pytest.mark.parametrize(
    "layout",
    [
        {"boxes": []},
        {"boxes": [{"name": "cat", "box": [0, 0, 2, 2]}]},
        {"boxes": [{"name": "cat", "box": [0.5, 0, 0.2, 1]}]},
        {"boxes": [{"box": [0, 0, 1, 1]}]},
        {},
    ],
)
def test_a_broken_plan_names_its_prompt(layout):
    with pytest.raises(InputError, match=r"'0'.*layout"):
        judge(layout=layout)


def test_a_reasoning_chain_is_a_plan():
    text = (
        "A <|obj_start|>red cat<|obj_end|> <|box_start|>(0,0),(200,200)<|box_end|> beside a "
        "<|obj_start|>dog<|obj_end|> <|box_start|>(500,0),(700,200)<|box_end|>."
    )
    plan = read_plan({"layout": parse_chain(text)})
    assert plan.names == ("red cat", "dog")
    assert plan.boxes.tolist() == [[0, 0, 0.2, 0.2], [0.5, 0, 0.7, 0.2]]


def test_summary_takes_relations_over_images_that_have_some():
    single = {"boxes": [{"name": "cat", "box": [0, 0, 0.2, 0.2]}]}
    prompts = prompts_to_table(
        [Prompt("0", "t", metadata={"layout": PLAN}), Prompt("1", "t", metadata={"layout": single})]
    )
    full = detections(box("cat", 0, 0, 100, 100), box("dog", 250, 0, 350, 100), size=(500, 500))
    rows = detection_rows({("0", 0): full, ("1", 0): full}, {("1", 1): "image_missing"})
    protocol = Layout()
    verdicts = protocol.judge(prompts, rows)
    allowed = protocol.summarize(verdicts, prompts, allow_missing=True)
    assert [allowed[n]["value"] for n in ("iou", "relations", "correct")] == [1, 1, 1]
    strict = protocol.summarize(verdicts, prompts)
    assert strict["iou"]["value"] == pytest.approx(2 / 3)
    assert strict["relations"]["value"] == pytest.approx(1 / 2)
