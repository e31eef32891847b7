from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from t2i_spatial.metrics import GenEval, GenEvalReward, GenEvalRewardFixed
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import DETECTIONS, SCORED, prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

RECORDED = json.loads((Path(__file__).parent / "golden" / "geneval_images.json").read_text())
# the recorded objects had passed their thresholds already
AS_LISTED = {"threshold": 0.0, "counting_threshold": 0.0}


def recorded():
    prompts = prompts_to_table(
        Prompt(str(i), "text", case["ask"]["tag"], None, {"geneval": case["ask"]})
        for i, case in enumerate(RECORDED)
    )
    rows = [
        {
            "prompt_id": str(i),
            "sample": 0,
            "width": 640,
            "height": 640,
            "status": SCORED,
            "detections": [
                {"label": name, "score": found[4], "box": found[:4], "color": color}
                for name, boxes in case["boxes"].items()
                for found, color in zip(boxes, case["colors"][name], strict=True)
            ],
        }
        for i, case in enumerate(RECORDED)
    ]
    return prompts, pl.DataFrame(rows, schema=DETECTIONS)


def judge(include, *items, protocol=None, tag="position", exclude=None, colors=None):
    record = {"tag": tag, "include": include, "prompt": "text"}
    if exclude:
        record["exclude"] = exclude
    prompts = prompts_to_table([Prompt("0", "text", tag, None, {"geneval": record})])
    rows = detection_rows({("0", 0): detections(*items)})
    if colors:
        found = [
            {**d, "color": c} for d, c in zip(rows["detections"][0].to_list(), colors, strict=True)
        ]
        rows = rows.with_columns(pl.Series("detections", [found], dtype=DETECTIONS["detections"]))
    return (protocol or GenEval()).judge(prompts, rows).row(0, named=True)


CAT_LEFT_OF_DOG = [
    {"class": "dog", "count": 1},
    {"class": "cat", "count": 1, "position": ["left of", 0]},
]
CAT, DOG = box("cat", 0, 0, 50, 50), box("dog", 100, 0, 150, 50)
WRONG_CAT = box("cat", 200, 0, 250, 50)


def test_every_recorded_image_is_decided_as_evaluate_does():
    prompts, found = recorded()
    verdicts = GenEval(**AS_LISTED).judge(prompts, found)
    assert verdicts["correct"].to_list() == [case["expect"][0] for case in RECORDED]
    assert ((verdicts["margin"] > 0) == verdicts["correct"]).all()
    assert (verdicts["reason"].str.len_chars() > 0).all()


def test_every_recorded_image_has_the_rewards_of_the_server():
    prompts, found = recorded()
    verdicts = GenEvalReward(**AS_LISTED).judge(prompts, found)
    assert verdicts["correct"].to_list() == [case["expect"][1] for case in RECORDED]
    expected = [case["expect"][2] for case in RECORDED]
    assert verdicts["value"].to_list() == pytest.approx(expected, abs=1e-9)
    nonstrict = [c[1]["value"] for c in verdicts["components"].to_list()]
    assert nonstrict == [float(case["expect"][0]) for case in RECORDED]


@pytest.mark.parametrize(
    ("items", "correct"),
    [
        ((CAT, DOG), True),
        ((WRONG_CAT, DOG), False),
        ((CAT, DOG, box("cat", 300, 0, 350, 50, 0.95)), False),
        ((CAT, DOG, box("dog", 300, 0, 350, 50, 0.5)), True),
        ((CAT,), False),
        ((DOG,), False),
        ((), False),
    ],
    ids=["ok", "wrong side", "top 1 wrong", "two dogs", "no dog", "no cat", "nothing"],
)
def test_quirk_position_looks_at_the_most_confident_box_of_each_class(items, correct):
    assert judge(CAT_LEFT_OF_DOG, *items)["correct"] is correct


@pytest.mark.parametrize("n", range(5))
def test_counting_is_exact_by_its_exclusion(n):
    verdict = judge(
        [{"class": "cat", "count": 2}],
        *[box("cat", 60 * k, 0, 60 * k + 50, 50, 0.95) for k in range(n)],
        tag="counting",
        exclude=[{"class": "cat", "count": 3}],
    )
    assert verdict["correct"] is (n == 2)
    assert (verdict["margin"] > 0) is (n == 2)


def test_quirk_counting_needs_confidence_above_point_nine():
    ask = [{"class": "cat", "count": 1}]
    sure, unsure = box("cat", 0, 0, 9, 9, 0.91), box("cat", 0, 0, 9, 9, 0.9)
    assert judge(ask, sure, tag="counting")["correct"]
    assert not judge(ask, unsure, tag="counting")["correct"]
    assert judge(ask, unsure, tag="single_object")["correct"]
    assert not judge(ask, box("cat", 0, 0, 9, 9, 0.3), tag="single_object")["correct"]


def test_quirk_only_sixteen_boxes_are_looked_at():
    many = [box("cat", 20 * k, 0, 20 * k + 10, 10) for k in range(20)]
    seventeen = [{"class": "cat", "count": 17}]
    assert not judge(seventeen, *many, tag="two_object")["correct"]
    wide = GenEval(max_objects=20)
    assert judge(seventeen, *many, tag="two_object", protocol=wide)["correct"]


def test_optional_suppression_counts_a_pixel_more_per_side():
    ask = [{"class": "cat", "count": 2}]
    # 0.375 with the extra pixel, one third without
    pair = box("cat", 0, 0, 10, 10, 0.8), box("cat", 5, 0, 15, 10, 0.7)
    assert judge(ask, *pair, tag="two_object")["correct"]
    assert judge(ask, *pair, tag="two_object", protocol=GenEval(max_overlap=0.38))["correct"]
    assert not judge(ask, *pair, tag="two_object", protocol=GenEval(max_overlap=0.37))["correct"]


def test_colour_must_be_that_of_the_most_confident_boxes():
    red = [{"class": "cat", "count": 1, "color": "red"}]
    two = box("cat", 0, 0, 9, 9, 0.8), box("cat", 50, 0, 59, 9, 0.7)
    assert judge(red, *two, tag="colors", colors=["red", "blue"])["correct"]
    wrong = judge(red, *two, tag="colors", colors=["blue", "red"])
    assert not wrong["correct"]
    assert wrong["reason"] == "0 of 1 cat is red"


def test_an_asked_colour_that_nobody_determined_is_no_verdict():
    verdict = judge([{"class": "cat", "count": 1, "color": "red"}], CAT, tag="colors")
    assert verdict["status"] == "detector_failed"
    assert verdict["correct"] is None
    assert "colour" in verdict["reason"]


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ((CAT, DOG), "1 dog found; cat is left of dog"),
        ((WRONG_CAT, DOG), "cat is not left of dog but on its other side"),
        ((box("cat", 100, 200, 150, 250), DOG), "cat is not left of dog"),
        ((CAT,), "0 of 1 dog found; no dog for cat to be left of"),
        ((DOG,), "0 of 1 cat found"),
    ],
)
def test_reasons(items, reason):
    assert judge(CAT_LEFT_OF_DOG, *items)["reason"] == reason


def test_a_scene_of_our_own_is_judged_like_the_record_it_corresponds_to():
    scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "left of", 1),))
    prompts = prompts_to_table([Prompt("0", "a cat left of a dog", "position", scene)])
    for items in ((CAT, DOG), (WRONG_CAT, DOG), (CAT,), (DOG,), ()):
        rows = detection_rows({("0", 0): detections(*items)})
        own = GenEval().judge(prompts, rows).row(0, named=True)
        recorded_ = judge(CAT_LEFT_OF_DOG, *items)
        assert own["correct"] == recorded_["correct"]
        assert own["margin"] == recorded_["margin"]


def test_scenes_count_to_the_number_when_tagged_counting_and_exclude_at_zero():
    two = SceneSpec((ObjectSpec("cat", 2), ObjectSpec("dog", 0)))
    cats = [box("cat", 60 * k, 0, 60 * k + 50, 50, 0.95) for k in range(3)]
    for tag, found, correct in (
        ("counting", cats[:2], True),
        ("counting", cats, False),
        ("other", cats, True),
        ("other", [*cats, DOG], False),
    ):
        prompts = prompts_to_table([Prompt("0", "two cats, no dog", tag, two)])
        rows = detection_rows({("0", 0): detections(*found)})
        assert GenEval().judge(prompts, rows)["correct"].to_list() == [correct]


def test_prompts_that_geneval_cannot_judge_are_not_applicable():
    prompts = prompts_to_table(
        [relation_prompt("cat", "on", "dog"), Prompt("1", "beauty", scene=SceneSpec())]
    )
    rows = detection_rows({("0", 0): detections(CAT), ("1", 0): detections(CAT)})
    verdicts = GenEval().judge(prompts, rows)
    assert verdicts["status"].to_list() == ["not_applicable"] * 2
    assert "no position on" in verdicts["reason"][0]


def test_overall_is_the_mean_of_the_tags_that_occur():
    prompts, found = recorded()
    protocol = GenEval(**AS_LISTED)
    summary = protocol.summarize(protocol.judge(prompts, found), prompts)
    tags = sorted({case["ask"]["tag"] for case in RECORDED})
    by_tag = {tag: [c["expect"][0] for c in RECORDED if c["ask"]["tag"] == tag] for tag in tags}
    for tag, right in by_tag.items():
        found = summary["by_tag"][tag]["images_correct"]
        assert found["value"] == pytest.approx(sum(right) / len(right))
        assert found["n_expected"] == len(right)
    means = [sum(right) / len(right) for right in by_tag.values()]
    assert len(means) == 6
    assert summary["overall"]["value"] == pytest.approx(sum(means) / 6)
    assert summary["overall"]["low"] < summary["overall"]["value"] < summary["overall"]["high"]


def test_prompts_correct_needs_one_right_image_and_a_missing_one_is_a_failure():
    prompts = prompts_to_table([relation_prompt("cat", "left of", "dog", id=i) for i in "01"])
    right = detections(CAT, DOG)
    rows = detection_rows(
        {("0", 0): right, ("0", 1): detections(), ("1", 0): detections()},
        {("1", 1): "image_missing"},
    )
    protocol = GenEval()
    verdicts = protocol.judge(prompts, rows)
    strict = protocol.summarize(verdicts, prompts)
    assert strict["prompts_correct"]["value"] == 0.5
    assert strict["images_correct"]["value"] == 0.25
    allowed = protocol.summarize(verdicts, prompts, allow_missing=True)
    assert allowed["images_correct"]["value"] == pytest.approx(1 / 3)


REWARDS = {
    "right": ((CAT, DOG), 1.0, True),
    "wrong side": ((WRONG_CAT, DOG), 0.75, False),
    "no dog": ((CAT,), 1 / 3, False),
    "nothing": ((), 0.0, False),
    "a second dog": ((CAT, DOG, box("dog", 300, 0, 350, 50, 0.5)), 1 / 3, False),
    "sixteen cats": (
        (DOG, *[box("cat", 0, 20 * k, 50, 20 * k + 10, 0.8) for k in range(16)]),
        -13 / 3,
        False,
    ),
}


@pytest.mark.parametrize("case", REWARDS)
def test_quirks_of_the_reward_server(case):
    items, soft, strict = REWARDS[case]
    verdict = judge(CAT_LEFT_OF_DOG, *items, protocol=GenEvalReward())
    assert verdict["value"] == pytest.approx(soft)
    assert verdict["correct"] is strict
    assert (verdict["margin"] > 0) is strict


@pytest.mark.parametrize(("n", "soft"), [(0, 0), (1, 0.5), (2, 1), (3, 0.5), (5, -0.5)])
def test_quirk_the_count_reward_falls_below_zero(n, soft):
    items = [box("cat", 60 * k, 0, 60 * k + 50, 50, 0.95) for k in range(n)]
    ask = [{"class": "cat", "count": 2}]
    assert judge(ask, *items, tag="counting", protocol=GenEvalReward())["value"] == soft
    fixed = judge(ask, *items, tag="counting", protocol=GenEvalRewardFixed())["value"]
    assert fixed == max(soft, 0)


def test_fixed_reward_orders_wrong_ambiguous_right_and_stays_in_its_range():
    def value(*items):
        return judge(CAT_LEFT_OF_DOG, *items, protocol=GenEvalRewardFixed())["value"]

    over = box("cat", 100, 200, 150, 250)
    wrong, ambiguous, right = value(WRONG_CAT, DOG), value(over, DOG), value(CAT, DOG)
    assert wrong == pytest.approx(2 / 3)
    assert ambiguous == pytest.approx(5 / 6)
    assert right == 1
    prompts, found = recorded()
    values = GenEvalRewardFixed(**AS_LISTED).judge(prompts, found)["value"]
    assert values.min() >= 0 and values.max() <= 1


def test_fixed_reward_never_falls_as_the_cat_moves_left():
    values = [
        judge(
            CAT_LEFT_OF_DOG,
            box("cat", x, 0, x + 50, 50),
            box("dog", 200, 0, 250, 50),
            protocol=GenEvalRewardFixed(),
        )["value"]
        for x in range(400, 0, -10)
    ]
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_mean_reward_below_zero_has_an_interval():
    prompts = prompts_to_table(
        [relation_prompt("cat", "left of", "dog", id=str(i)) for i in range(9)]
    )
    many = REWARDS["sixteen cats"][0]
    rows = detection_rows(
        {(str(i), 0): detections(*(many if i % 2 else (CAT, DOG))) for i in range(9)}
    )
    protocol = GenEvalReward()
    soft = protocol.summarize(protocol.judge(prompts, rows), prompts)["soft"]
    assert soft["value"] == pytest.approx((5 * 1 - 4 * 13 / 3) / 9)
    assert soft["low"] < soft["value"] < soft["high"]
