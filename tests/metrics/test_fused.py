"""`fused`: two witnesses, one probability, and what happens when they contradict each other."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.fused import Fused, box_evidence, fit_weights
from t2i_spatial.metrics.spatial_vqa import parts_of
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.stages.protocols import make_protocols
from t2i_spatial.stages.score import score_run
from t2i_spatial.tables import AMBIGUOUS, DETECTIONS, IN_PART, SCORED, prompts_to_table
from tests.stages.asked_run import add_answers, make_run

LEFT = {"label": "cat", "score": 0.9, "box": [5.0, 40.0, 25.0, 60.0]}
RIGHT = {"label": "dog", "score": 0.9, "box": [70.0, 40.0, 95.0, 60.0]}


def with_boxes(run, boxes):
    run.begin("detect", {"detector": "imported", "source": "boxes"})
    rows = [
        {**row, "width": 100, "height": 100, "detections": boxes}
        for row in run.images().drop("seed").iter_rows(named=True)
    ]
    run.write_detections(pl.DataFrame(rows, schema=DETECTIONS))
    run.finish("detect")
    return run


def judged(tmp_path, boxes, p, settings=()):
    run = with_boxes(make_run(tmp_path / "run", prompts=1, samples=1), boxes)
    add_answers(run, lambda *of: p(of[2]), ["fused"])
    scores = score_run(run, make_protocols(["fused"], settings))
    return scores.verdicts["fused"].row(0, named=True), scores.summary["fused"]


def components(row):
    return {c["name"]: c["value"] for c in row["components"]}


def test_two_witnesses_that_agree_are_surer_than_one(tmp_path):
    row, summary = judged(tmp_path, [LEFT, RIGHT], lambda q: 0.9)
    by_boxes = components(row)["boxes"]
    assert (row["status"], row["correct"]) == (SCORED, True)
    assert row["value"] > max(by_boxes, 0.9)
    odds = math.log(9) + math.log(by_boxes / (1 - by_boxes))
    assert row["value"] == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-6)
    assert summary["agreement"]["value"] == pytest.approx(components(row)["agreement"])
    assert summary["judge"]["model"] == "Tiny-VL"


def test_a_contradiction_is_ambiguous_with_both_pieces_of_evidence(tmp_path):
    row, summary = judged(tmp_path, [LEFT, RIGHT], lambda q: 0.1 if q["options"] else 0.9)
    assert (row["status"], row["value"], row["correct"]) == (AMBIGUOUS, None, None)
    assert row["reason"].startswith("boxes and judge disagree on the cat to the left of the dog: ")
    assert "judge 0.10)" in row["reason"]
    assert components(row)["disputed"] == 1
    assert summary["accuracy"]["value"] == 0
    assert summary["images"]["ambiguous"] == 1


def test_what_both_call_wrong_is_wrong_whatever_else_they_dispute(tmp_path):
    row, _ = judged(tmp_path, [LEFT], lambda q: 0.1 if "a dog" in q["text"] else 0.9)
    assert (row["status"], row["correct"]) == (SCORED, False)
    assert row["reason"].startswith("a dog: ")


def test_one_witness_speaks_where_the_other_cannot(tmp_path):
    row, _ = judged(tmp_path, [LEFT, RIGHT], lambda q: "refused")
    assert (row["status"], row["correct"]) == (SCORED, True)
    assert row["value"] == pytest.approx(components(row)["boxes"], abs=0.01)
    assert components(row)["answers"] is None


def test_what_neither_says_is_open(tmp_path):
    scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "facing", 1),))
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    run.write_prompts(prompts_to_table([Prompt("p0", "a cat facing a dog", scene=scene)]))
    with_boxes(run, [LEFT, RIGHT])
    add_answers(run, lambda *of: "refused" if "facing" in of[2]["text"] else 0.9, ["fused"])
    row = score_run(run, make_protocols(["fused"])).verdicts["fused"].row(0, named=True)
    assert row["status"] == IN_PART
    assert row["unjudged"] == ["the cat facing the dog"]


def test_weights_are_settings(tmp_path):
    row, _ = judged(
        tmp_path, [LEFT, RIGHT], lambda q: 0.8, ["fused.box_weight=0", "fused.answer_weight=2"]
    )
    assert row["value"] == pytest.approx(16 / 17)
    with pytest.raises(InputError, match=r"fused\.box_weight"):
        Fused(box_weight=-1)
    with pytest.raises(InputError, match="detect as well as ask"):
        Fused().judge_answers(pl.DataFrame(), pl.DataFrame(), pl.DataFrame())


def test_boxes_are_asked_for_each_part_alone():
    scene = SceneSpec(
        (ObjectSpec("cat", 2), ObjectSpec("dog"), ObjectSpec("hat", 0)),
        (RelationSpec(0, "left of", 1),),
    )
    prompts = prompts_to_table([Prompt("p", "two cats left of a dog, no hat", scene=scene)])
    images = pl.DataFrame(
        [
            {
                "prompt_id": "p",
                "sample": 0,
                "width": 100,
                "height": 100,
                "status": SCORED,
                "detections": [LEFT, RIGHT],
            }
        ],
        schema=DETECTIONS,
    )
    found = box_evidence(prompts, images)["p", 0]
    kinds = [part.kind for part in parts_of(scene)]
    assert kinds == ["exists", "count", "exists", "count", "relation"]
    assert (found[0], found[2], found[3]) == (1.0, 1.0, 1.0)
    assert found[1] < 0.5 < found[4]


def test_weights_are_found_from_labels():
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.5
    sure = np.where(truth, 0.9, 0.1)
    boxes = np.where(rng.random(4000) < 0.9, sure, 1 - sure)  # as right as it says
    answers = np.where(rng.random(4000) < 0.6, sure, 1 - sure)  # says more than it knows
    found = fit_weights(boxes, answers, truth)
    assert found["box_weight"] == pytest.approx(1.0, abs=0.1)
    assert found["answer_weight"] == pytest.approx(math.log(1.5) / math.log(9), abs=0.06)
    assert found["bias"] == pytest.approx(0.0, abs=0.15)
    few = fit_weights([0.9], [0.1], [True], ridge=100.0)
    assert few["box_weight"] == pytest.approx(1.0, abs=0.05)
    with pytest.raises(InputError, match="1 labels of 2"):
        fit_weights([0.5, 0.5], [0.5], [True])
