"""T2I-CompBench++'s ratings: the peer's parsing on replies as they come, and ours."""

from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.t2i_compbench_mllm import (
    T2ICompBenchMLLM,
    T2ICompBenchMLLMFixed,
)
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.tables import IN_PART, prompts_to_table
from tests.metrics.asked.answered import images_of, read, replied, scored

RECORDS = [{"id": k, "text": f"prompt {k}", "tag": "spatial"} for k in range(3)]
PEER, FIXED = T2ICompBenchMLLM(), T2ICompBenchMLLMFixed()

# reply: (what the peer takes it for, of 100; what the fixed one takes it for, of 100)
RECORDED = {
    '{"score": 80, "explanation": "good"}': (80, None),
    '{"score": 4, "explanation": "good"}': (4, 75),
    '```json\n{\n  "score": 5,\n  "explanation": "x"\n}\n```': (5, 100),
    '{"explanation": "good", "score": 5}': (0, 100),
    '{"score":5, "explanation": "no blank"}': (0, 100),
    '{"score": "5", "explanation": "a string"}': (0, 100),
    '{"score": 3.5, "explanation": "x"}': (0, 62.5),
    '{"score": 60, "x": 1} {"score": 20, "x": 2}': (40, None),
    "I cannot rate this.": (0, None),
    '{"score": 1, "explanation": "nothing"}': (1, 0),
}


@pytest.mark.parametrize("reply", RECORDED)
def test_a_reply_is_rated(reply):
    peer, ours = RECORDED[reply]
    _, summary = scored(PEER, RECORDS[:1], lambda *_: [reply])
    assert summary["score"]["value"] == pytest.approx(peer / 100)
    _, summary = scored(FIXED, RECORDS[:1], lambda *_: [reply])
    assert summary["score"]["value"] == pytest.approx((ours or 0) / 100)
    assert summary["score_at_most"]["value"] == pytest.approx(1 if ours is None else ours / 100)


def test_totals():
    said = {
        "0": '{"score": 80, "explanation": ""}',
        "1": '{"score": 100, "explanation": ""}',
        "2": "refused",
    }
    verdicts, summary = scored(PEER, RECORDS, lambda prompt, _: [said[prompt]])
    assert summary["score"]["value"] == pytest.approx(0.6)
    assert summary["score_at_most"]["value"] == pytest.approx(2.8 / 3)
    assert summary["by_tag"]["spatial"]["score"]["value"] == pytest.approx(0.6)
    assert verdicts["status"].to_list()[2] == IN_PART
    assert verdicts["correct"].to_list()[:2] == [False, True]


def test_quirk_every_category_but_attributes_is_asked_as_spatial():
    texts = {
        category: PEER.questions(read([{"id": 0, "text": "t", "tag": category}]))["text"][0]
        for category in ("spatial", "numeracy", "complex")
    }
    assert len(set(texts.values())) == 1
    ours = {
        category: FIXED.questions(read([{"id": 0, "text": "t", "tag": category}]))["text"][0]
        for category in ("spatial", "numeracy", "complex")
    }
    assert len(set(ours.values())) == 3


def test_attributes_are_asked_phrase_by_phrase():
    scene = SceneSpec((ObjectSpec("bench", color="green"), ObjectSpec("car", color="red")))
    prompts = prompts_to_table([Prompt("p", "a green bench and a red car", "color", scene)])
    assert len(PEER.questions(prompts)) == 1
    questions = FIXED.questions(prompts)
    assert len(questions) == 2
    assert "a green bench in the image" in questions["text"][0]

    def reply(_, row):
        return ['{"score": 4, "explanation": ""}' if "bench" in row["text"] else '{"score": 1}']

    verdicts = FIXED.judge_answers(prompts, images_of(prompts), replied(FIXED, prompts, reply))
    assert verdicts["value"].to_list() == [0.5]


def test_an_unknown_category_is_refused():
    with pytest.raises(InputError, match="category 'colour'"):
        T2ICompBenchMLLM(category="colour")
