"""TIFA on three captions in the peer's format, with totals worked out by hand."""

from __future__ import annotations

import json

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.tifa import TIFA
from t2i_spatial.prompts import load_prompts
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import IN_PART, prompts_to_table
from tests.metrics.asked.answered import images_of, replied

COLORS = ["red", "blue", "dark red", "green"]


def row(id, question, choices, answer, kind):
    return {
        "id": id,
        "caption": f"caption {id}",
        "question": question,
        "choices": choices,
        "answer": answer,
        "element_type": kind,
        "element": answer,
    }


ROWS = [
    row("coco_1", "is there a car?", ["yes", "no"], "yes", "object"),
    row("coco_1", "what color is the car?", COLORS, "red", "color"),
    row("coco_2", "how many dogs?", ["1", "2", "3", "4"], "2", "counting"),
    row("drawbench_3", "is there a boat?", ["yes", "no"], "yes", "object"),
    row("drawbench_3", "is the boat in the sea?", ["yes", "no"], "no", "spatial"),
]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(ROWS))
    return prompts_to_table(load_prompts(path))


def judged(prompts, **replies):
    def reply(_, asked):
        return [next(said for word, said in replies.items() if word in asked["text"])]

    answers = replied(TIFA(), prompts, reply)
    verdicts = TIFA().judge_answers(prompts, images_of(prompts), answers)
    return verdicts, TIFA().summarize(verdicts, prompts)


def test_totals(prompts):
    said = {"color": "blue", "many": "2", "sea": "no", "boat": "no", "car": "yes"}
    verdicts, summary = judged(prompts, **said)
    assert verdicts["value"].to_list() == [0.5, 1.0, 0.5]
    assert summary["tifa"]["value"] == pytest.approx(2 / 3)
    assert summary["object"]["value"] == 0.5
    assert (summary["color"]["value"], summary["counting"]["value"]) == (0, 1)
    assert (summary["spatial"]["value"], summary["food"]["value"]) == (1, None)


@pytest.mark.parametrize(
    ("said", "value", "most"),
    [
        ("red", 1, 1),
        ("Red.", 1, 1),
        ("it is dark red", 0.5, 1),  # "red" and "dark red" are both in it
        ("it is green", 0.5, 0.5),
        ("crimson", 0.5, 1),
        ("refused", 0.5, 1),
    ],
)
def test_a_reply_in_other_words_is_read_or_open(prompts, said, value, most):
    others = {"many": "2", "sea": "no", "boat": "yes", "car?": "yes"}
    verdicts, summary = judged(prompts, color=said, **others)
    assert summary["tifa"]["value"] == pytest.approx((value + 2) / 3)
    assert summary["tifa_at_most"]["value"] == pytest.approx((most + 2) / 3)
    assert (verdicts["status"][0] == IN_PART) == (most > value)


def test_the_answer_must_be_a_choice():
    record = {"question": "q?", "choices": ["a", "b"], "answer": "c"}
    with pytest.raises(InputError, match="'c' to 'q\\?' is none of its choices"):
        TIFA().questions(prompts_to_table([Prompt("p", "x", metadata={"tifa": record})]))
