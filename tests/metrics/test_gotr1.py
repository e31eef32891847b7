"""GoT-R1's rewards: chains are read, plans are drawn and shown, the product is the formula's."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from t2i_spatial.canvas import describe, draw
from t2i_spatial.metrics.gotr1 import SIDES, GoTR1
from t2i_spatial.prompts import load_prompts
from t2i_spatial.questions import ANSWERS
from t2i_spatial.stages.ask import AskSettings, ask_run
from t2i_spatial.stages.protocols import make_protocols
from t2i_spatial.stages.score import score_run
from t2i_spatial.tables import DETECTIONS, IN_PART, SCORED, prompts_to_table
from tests.judges.replaying_server import ReplayingServer, image_of, said, text_of
from tests.metrics.asked.answered import components, images_of
from tests.stages.asked_run import make_run

CHAIN = (
    "A cat sits on the left <|obj_start|>cat<|obj_end|> <|box_start|>(100,200),(400,800)<|box_end|>"
    " and a dog stands on the right <|obj_start|>dog<|obj_end|>"
    "<|box_start|>(600,200),(900,800)<|box_end|>."
)
PLANNED = [
    {"label": "cat", "score": 0.9, "box": [10.0, 20.0, 40.0, 80.0]},
    {"label": "dog", "score": 0.9, "box": [60.0, 20.0, 90.0, 80.0]},
]
ELSEWHERE = [PLANNED[0], {"label": "dog", "score": 0.9, "box": [60.0, 20.0, 90.0, 50.0]}]
METRIC = GoTR1()


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "chains.jsonl"
    records = [{"id": k, "prompt": f"a cat left of a dog, {k}", "got": CHAIN} for k in range(3)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return prompts_to_table(load_prompts(path))


def found(prompts, boxes):
    rows = [
        {
            "prompt_id": prompt_id,
            "sample": 0,
            "width": 100,
            "height": 100,
            "status": SCORED,
            "detections": boxes[prompt_id],
        }
        for prompt_id in prompts["prompt_id"]
    ]
    return pl.DataFrame(rows, schema=DETECTIONS)


def answers(prompts, reply):
    rows = []
    for question in METRIC.questions(prompts).iter_rows(named=True):
        said_of = reply(question["prompt_id"], question)
        rows.append(
            {
                "prompt_id": question["prompt_id"],
                "sample": 0,
                "rollout": 0,
                "question_id": question["question_id"],
                **said_of,
            }
        )
    return pl.DataFrame(rows, schema=ANSWERS)


def yes(p):
    chances = [{"answer": "yes", "p": p}, {"answer": "no", "p": 1 - p}]
    return {"status": "answered", "answer": "yes", "chances": chances}


def rated(**chances):
    listed = [{"answer": key.strip("_"), "p": p} for key, p in chances.items()]
    return {"status": "answered", "answer": "8", "chances": listed}


def right(_, question):
    return {"chain": rated(_6=0.5, _10=0.5), "plan": yes(0.6), "picture": yes(0.5)}[
        question["skill"]
    ]


def test_a_chain_is_a_plan_for_layout_too(prompts):
    layout = make_protocols(["layout"])[0]
    boxes = found(prompts, dict.fromkeys("012", PLANNED))
    assert layout.judge(prompts, boxes)["value"].to_list() == pytest.approx([1.0] * 3)
    questions = METRIC.questions(prompts)
    assert questions["skill"].to_list()[:6] == ["chain"] * len(SIDES) + ["plan", "picture"]
    assert CHAIN in questions["text"][0]
    assert questions["canvas"].is_null().to_list()[:6] == [False] * 5 + [True]


def test_totals(prompts):
    boxes = found(prompts, {"0": PLANNED, "1": ELSEWHERE, "2": PLANNED[:1]})
    verdicts = METRIC.judge_answers(prompts, images_of(prompts), answers(prompts, right), boxes)
    summary = METRIC.summarize(verdicts, prompts)
    of_plan = 0.5 * (0.8 + 0.6)
    ious = [1.0, 0.75, 0.5]
    rewards = [0.5 * of_plan * iou for iou in ious]
    assert verdicts["value"].to_list() == pytest.approx(rewards)
    assert summary["reward"]["value"] == pytest.approx(sum(rewards) / 3)
    assert summary["r_sem"]["value"] == pytest.approx(0.8)
    assert (summary["r_spa"]["value"], summary["r_pi"]["value"]) == (
        pytest.approx(0.6),
        pytest.approx(0.5),
    )
    assert summary["r_ri"]["value"] == pytest.approx(0.75)
    assert verdicts["reason"][0] == "r_sem 0.80, r_spa 0.60, r_ri 1.00, r_pi 0.50"


def test_a_refusal_leaves_the_reward_open(prompts):
    def reply(prompt, question):
        refused = prompt == "0" and question["skill"] == "plan"
        return {"status": "refused"} if refused else right(prompt, question)

    boxes = found(prompts, dict.fromkeys("012", PLANNED))
    verdicts = METRIC.judge_answers(prompts, images_of(prompts), answers(prompts, reply), boxes)
    assert verdicts["status"].to_list() == [IN_PART, SCORED, SCORED]
    assert verdicts["unjudged"][0].to_list() == ["r_spa"]
    summary = METRIC.summarize(verdicts, prompts)
    assert summary["reward"]["value"] == pytest.approx(0.7 / 3)
    assert summary["reward_at_most"]["value"] == pytest.approx(1.7 / 3)


def test_a_plan_without_a_chain_is_judged_by_its_boxes(tmp_path):
    layout = {"boxes": [{"name": "cat", "box": [0.1, 0.2, 0.4, 0.8]}]}
    path = tmp_path / "plans.jsonl"
    path.write_text(json.dumps({"id": "0", "text": "a cat", "metadata": {"layout": layout}}))
    prompts = prompts_to_table(load_prompts(path))
    boxes = found(prompts, {"0": PLANNED[:1]})
    verdicts = METRIC.judge_answers(prompts, images_of(prompts), answers(prompts, right), boxes)
    assert verdicts["value"].to_list() == pytest.approx([0.5 * 0.6])
    assert components(verdicts.row(0, named=True))["r_sem"] is None


def test_the_drawing_shows_the_boxes_where_they_are():
    text = describe({"size": [1000, 500], "boxes": [{"name": "cat", "box": [500, 0, 1000, 500]}]})
    assert draw(text) == draw(text)
    pixels = np.asarray(Image.open(io.BytesIO(draw(text))).convert("L"))
    assert pixels.shape == (256, 512)
    assert (pixels[:, :256] == 255).all()
    assert (pixels[:, 256:259] < 255).all()


def test_a_judge_is_shown_the_drawing_and_not_the_picture(tmp_path, prompts):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    one = prompts.head(1).with_columns(prompt_id=run.prompts()["prompt_id"])
    run.write_prompts(one)
    run.begin("detect", {"detector": "imported", "source": "boxes"})
    run.write_detections(found(one, {"p0": PLANNED}))
    run.finish("detect")
    shown = {}

    def answer(body, number):
        text = text_of(body)
        shown[text.split()[0]] = base64.b64decode(image_of(body).partition(",")[2])
        if text.startswith("For"):
            return said("8", {"8": 0.9})
        return said("Yes", {"Yes": 0.9, "No": 0.1})

    with ReplayingServer(answer) as server:
        options = {"patience": 5.0, "timeout": 5.0, "probe": False}
        settings = AskSettings(judge=server.url, judge_model="m", options=options)
        result = ask_run(run, [METRIC], settings)
    assert (result.asked, result.left) == (6, 0)
    plan = json.loads(one["metadata"][0])["layout"]
    assert shown["The"] == draw(describe(plan))
    assert shown["Does"] == run.image_path(run.images()["image"][0]).read_bytes()
    assert (np.asarray(Image.open(io.BytesIO(shown["For"]))) == 255).all()
    row = score_run(run, [METRIC]).verdicts["gotr1"].row(0, named=True)
    assert row["value"] == pytest.approx(0.9 * (0.8 + 0.9) / 2)
