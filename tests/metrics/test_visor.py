from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics import VISOR
from t2i_spatial.prompts import sr2d
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages.score import complete
from t2i_spatial.tables import DETECTIONS, IMAGE_MISSING, SCORED, VERDICTS, prompts_to_table
from tests.builders import box, boxes, detection_rows, detections, relation_prompt

GOLDEN = Path(__file__).parent / "golden" / "visor_run.npz"
NUMBERS = ("OA", "VISOR_cond", "VISOR_uncond", "VISOR_1", "VISOR_2", "VISOR_3", "VISOR_4")


def judge(found, relation="left of", prompt=None):
    prompts = prompts_to_table([prompt or relation_prompt("cat", relation, "dog")])
    rows = detection_rows({("0", 0): found})
    return VISOR().judge(prompts, rows).row(0, named=True)


def golden_run():
    """The recorded run: detections in hundredths of a pixel, and the peer's printed table."""
    recorded = np.load(GOLDEN)
    by_id = {prompt.id: prompt for prompt in sr2d()}
    images = [(str(uid), int(sample)) for uid, sample in recorded["images"]]
    rows = [
        {"prompt_id": p, "sample": s, "status": SCORED, "width": 512, "height": 512,
         "detections": []}
        for p, s in images
    ]  # fmt: skip
    for number, role, score, *corners in recorded["boxes"].tolist():
        name = by_id[images[number][0]].scene.names[role]
        rows[number]["detections"].append(
            {"label": name, "score": score / 10000, "box": [c / 100 for c in corners]}
        )
    prompts = prompts_to_table([by_id[p] for p in dict.fromkeys(p for p, _ in images)])
    table = dict(zip(NUMBERS, recorded["table"].tolist(), strict=True))
    return prompts, pl.DataFrame(rows, schema=DETECTIONS), table


def test_the_peers_table_is_reproduced_to_its_last_digit():
    prompts, found, table = golden_run()
    protocol = VISOR()
    verdicts = protocol.judge(prompts, complete(found, prompts))
    summary = protocol.summarize(verdicts, prompts, allow_missing=True)
    assert {n: round(100 * summary[n]["value"], 2) for n in NUMBERS} == table


def test_missing_images_are_failures_unless_allowed():
    prompts, found, table = golden_run()
    protocol = VISOR()
    verdicts = protocol.judge(prompts, complete(found, prompts))
    summary = protocol.summarize(verdicts, prompts)
    images = summary["images"]
    assert images["scored"] + images[IMAGE_MISSING] == images["expected"] == 1600
    share = images["scored"] / images["expected"]
    assert share < 1
    assert summary["OA"]["value"] < table["OA"] / 100
    assert summary["OA"]["value"] == pytest.approx(
        share * protocol.summarize(verdicts, prompts, allow_missing=True)["OA"]["value"]
    )
    assert summary["OA"]["n_expected"] == images["expected"]
    # a ratio over images with both objects does not see the missing ones
    assert round(100 * summary["VISOR_cond"]["value"], 2) == table["VISOR_cond"]


def test_hand_made_aggregation():
    # eight images of three prompts, one prompt one image short, one with a single image
    prompts = [relation_prompt("cat", "left of", "dog", id=i) for i in "012"]
    right = detections(box("cat", 0, 0, 10, 10), box("dog", 50, 0, 60, 10))
    wrong = detections(box("cat", 50, 0, 60, 10), box("dog", 0, 0, 10, 10))
    cat, dog, none = boxes("cat", 0, 0, 9, 9), boxes("dog", 0, 0, 9, 9), detections()
    rows = detection_rows(
        {
            ("0", 0): right, ("0", 1): right, ("0", 2): wrong, ("0", 3): cat,
            ("1", 0): dog, ("1", 1): none, ("1", 2): right,
            ("2", 0): wrong,
        }
    )  # fmt: skip
    table = prompts_to_table(prompts)
    protocol = VISOR()
    summary = protocol.summarize(protocol.judge(table, rows), table, allow_missing=True)
    values = [summary[n]["value"] for n in NUMBERS]
    assert values == pytest.approx([5 / 8, 3 / 5, 3 / 8, 2 / 3, 1 / 3, 0, 0])


@pytest.mark.parametrize(
    ("relation", "dx", "dy"),
    [("left of", 1, 0), ("right of", -1, 0), ("above", 0, 1), ("below", 0, -1)],
)
def test_only_the_sign_on_one_axis_counts(relation, dx, dy):
    cat = box("cat", 200, 200, 240, 240)
    near = box("dog", 200 + dx, 200 + dy, 240 + dx, 240 + dy)
    level = box("dog", 200, 200, 240, 240)
    assert judge(detections(cat, near), relation)["correct"]
    assert not judge(detections(cat, level), relation)["correct"]
    other = box("dog", 200 - dx, 200 - dy, 240 - dx, 240 - dy)
    assert not judge(detections(cat, other), relation)["correct"]


def test_quirk_a_score_of_exactly_the_threshold_is_dropped():
    dog = box("dog", 20, 0, 30, 10, 0.5)
    assert not judge(detections(box("cat", 0, 0, 10, 10, 0.1), dog))["correct"]
    assert judge(detections(box("cat", 0, 0, 10, 10, 0.1001), dog))["correct"]


def test_quirk_any_pair_is_enough_so_a_duplicate_satisfies_left_and_right():
    found = detections(
        box("cat", 40, 0, 50, 10, 0.9), box("cat", 0, 0, 10, 10, 0.11), box("dog", 20, 0, 30, 10)
    )
    assert judge(found, "left of")["correct"]
    assert judge(found, "right of")["correct"]


def test_quirk_the_other_axis_is_ignored():
    found = detections(box("cat", 0, 0, 10, 10), box("dog", 500, 1, 510, 11))
    assert judge(found, "above")["correct"]


def test_quirk_same_class_twice_is_right_whenever_two_boxes_differ():
    prompt = relation_prompt("cat", "left of", "cat")
    two = detections(box("cat", 0, 0, 10, 10), box("cat", 5, 0, 15, 10))
    assert judge(two, prompt=prompt)["correct"]
    one = judge(boxes("cat", 0, 0, 10, 10), prompt=prompt)
    assert not one["correct"]
    assert one["components"][0] == {"name": "objects_found", "value": 1.0}


@pytest.mark.parametrize(
    ("found", "value", "margin", "reason"),
    [
        (
            detections(box("cat", 0, 0, 100, 100), box("dog", 128, 0, 228, 100)),
            1.0,
            0.25,
            "cat is left of dog by 128.0 px",
        ),
        (
            detections(box("dog", 0, 0, 100, 100), box("cat", 128, 0, 228, 100)),
            0.0,
            -0.25,
            "cat is not left of dog: 128.0 px the other way",
        ),
        (boxes("cat", 0, 0, 9, 9), 0.0, -1.0, "no dog found"),
        (boxes("dog", 0, 0, 9, 9), 0.0, -1.0, "no cat found"),
        (boxes("bird", 0, 0, 9, 9), 0.0, -1.0, "neither cat nor dog found"),
        (detections(), 0.0, -1.0, "neither cat nor dog found"),
    ],
)
def test_a_verdict_explains_itself(found, value, margin, reason):
    verdict = judge(found)
    assert (verdict["value"], verdict["margin"], verdict["reason"]) == (value, margin, reason)
    assert verdict["correct"] is (value == 1.0)
    seen = {e["label"]: e["box"] for e in verdict["evidence"]}
    asked = [i for i, label in enumerate(found.labels) if label in ("cat", "dog")]
    assert seen == {found.labels[i]: found.boxes[i].tolist() for i in asked}


def test_and_single_and_richer_prompts_are_not_applicable():
    cat, dog, bird = (ObjectSpec(n) for n in ("cat", "dog", "bird"))
    for scene in (SceneSpec((cat, dog)), SceneSpec((cat,)), SceneSpec((cat, dog, bird)), None):
        verdict = judge(boxes("cat", 0, 0, 9, 9), prompt=Prompt("0", "text", "and", scene))
        assert verdict["status"] == "not_applicable"
        assert verdict["value"] is None and verdict["correct"] is None
    assert judge(boxes("cat", 0, 0, 9, 9), "on")["status"] == "not_applicable"


def test_a_row_without_score_keeps_its_status_and_reason():
    prompts = prompts_to_table([relation_prompt("cat", "left of", "dog")])
    rows = detection_rows({}, {("0", 0): "image_unreadable"})
    verdict = VISOR().judge(prompts, rows).row(0, named=True)
    assert verdict["status"] == verdict["reason"] == "image_unreadable"
    assert verdict["value"] is None and verdict["evidence"] is None


def test_visor_n_is_undefined_when_no_prompt_has_n_images():
    prompts = prompts_to_table([relation_prompt("cat", "left of", "dog")])
    rows = detection_rows({("0", s): detections() for s in range(2)})
    protocol = VISOR()
    verdicts = protocol.judge(prompts, rows)
    strict = protocol.summarize(verdicts, prompts)
    assert [strict[f"VISOR_{n}"]["value"] for n in (1, 2, 3, 4)] == [0, 0, None, None]
    # the peer prints 0
    assert protocol.summarize(verdicts, prompts, allow_missing=True)["VISOR_4"]["value"] == 0


def test_no_image_with_both_objects_gives_no_number_where_the_peer_divides_by_zero():
    prompts = prompts_to_table([relation_prompt("cat", "left of", "dog")])
    protocol = VISOR()
    verdicts = protocol.judge(prompts, detection_rows({("0", 0): detections()}))
    summary = protocol.summarize(verdicts, prompts, allow_missing=True)
    assert summary["VISOR_cond"]["value"] is None
    assert summary["OA"]["value"] == 0


def test_breakdowns_add_up():
    prompts, found, _ = golden_run()
    protocol = VISOR()
    summary = protocol.summarize(protocol.judge(prompts, found), prompts)
    relations = summary["by_relation"].values()
    assert sum(r["OA"]["n_expected"] for r in relations) == summary["OA"]["n_expected"]
    right = sum(r["VISOR_uncond"]["value"] * r["OA"]["n_expected"] for r in relations)
    assert right == pytest.approx(summary["VISOR_uncond"]["value"] * summary["OA"]["n_expected"])
    # every image of two different objects counts for both
    objects = summary["by_object"].values()
    assert sum(o["OA"]["n_expected"] for o in objects) == 2 * summary["OA"]["n_expected"]


def test_intervals_surround_their_values_and_depend_on_the_seed_alone():
    prompts, found, _ = golden_run()
    protocol = VISOR()
    verdicts = protocol.judge(prompts, found)
    first = protocol.summarize(verdicts, prompts, seed=3)
    again = protocol.summarize(verdicts.reverse(), prompts, seed=3)
    for name in NUMBERS:
        assert first[name]["low"] < first[name]["value"] < first[name]["high"]
        assert first[name] == again[name]
    assert protocol.summarize(verdicts, prompts, seed=4)["OA"] != first["OA"]


def test_update_compute_reset_ends_in_the_same_numbers():
    prompts, found, _ = golden_run()
    protocol = VISOR()
    whole = protocol.summarize(protocol.judge(prompts, found), prompts)
    protocol.update(prompts, found[:700])
    protocol.update(prompts, found[700:])
    assert protocol.compute() == whole
    protocol.reset()
    assert protocol.compute()["OA"]["value"] is None


def test_update_takes_prompts_and_detections_of_single_images():
    prompt = relation_prompt("cat", "left of", "dog")
    right = detections(box("cat", 0, 0, 10, 10), box("dog", 50, 0, 60, 10))
    metric = VISOR()
    metric.update([prompt, prompt], [right, None])
    metric.update([prompt], [detections()])
    summary = metric.compute()
    assert summary["OA"]["value"] == pytest.approx(1 / 3)
    assert summary["images"] == {"expected": 3, "scored": 2, IMAGE_MISSING: 1}


def test_update_refuses_what_does_not_fit():
    prompt = relation_prompt("cat", "left of", "dog")
    metric = VISOR()
    with pytest.raises(InputError, match="2 prompts for 1 images"):
        metric.update([prompt, prompt], [detections()])
    rows = detection_rows({("0", 0): detections()})
    with pytest.raises(InputError, match="both"):
        metric.update([prompt], rows)
    table = prompts_to_table([prompt])
    metric.update(table, rows)
    with pytest.raises(InputError, match="twice"):
        metric.update(table, rows)
    with pytest.raises(InputError, match="no prompt of the set"):
        metric.update(table, detection_rows({("other", 0): detections()}))


def test_empty_tables_give_empty_verdicts():
    table = VISOR().judge(prompts_to_table([]), pl.DataFrame(schema=DETECTIONS))
    assert table.schema == VERDICTS and len(table) == 0
