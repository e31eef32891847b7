"""Colours beyond the ten words: judged where the expert can, else neither right nor wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.metrics.color_words import color_fit
from t2i_spatial.scene import COLORS, ObjectSpec, Prompt, SceneSpec
from t2i_spatial.tables import IN_PART, prompts_to_table
from tests.builders import boxes, detection_rows

PROTOCOL = ["geneval", "geneval_reward", "geneval_reward_fixed", "spatial"]


def judge(name, asked, seen):
    prompt = Prompt("0", f"a {asked} car", "colors", SceneSpec((ObjectSpec("car", 1, asked),)))
    found = replace(boxes("car", 10, 10, 90, 90, 0.95), colors=(seen,))
    rows = detection_rows({("0", 0): found})
    return PROTOCOLS[name]().judge(prompts_to_table([prompt]), rows).row(0, named=True)


@pytest.mark.parametrize("asked", COLORS)
def test_the_ten_words_are_judged_as_they_are(asked):
    for seen in (*COLORS, "gray"):
        assert color_fit(asked, seen) is (asked == seen)
        assert color_fit(asked.capitalize(), seen) is (asked == seen)


@pytest.mark.parametrize(
    "word", ["silver", "gold", "golden", "beige", "tan", "red and white", "teal", "multicolored"]
)
@pytest.mark.parametrize("name", PROTOCOL)
def test_words_that_no_expert_knows_are_never_right_and_never_wrong(name, word):
    for seen in COLORS:
        verdict = judge(name, word, seen)
        assert verdict["status"] == IN_PART and verdict["correct"] is None
        assert verdict["unjudged"] == [f"{word} car"]
    assert judge(name, word, word)["correct"]  # an expert of somebody's that knows it


@pytest.mark.parametrize(
    ("word", "seen", "fit"),
    [
        ("gray", "gray", True), ("grey", "gray", True), ("gray", "grey", True),
        ("gray", "white", None), ("grey", "black", None), ("gray", "red", False),
        ("dark red", "red", None), ("dark red", "brown", None), ("dark red", "green", False),
        ("light-blue", "blue", None), ("sky blue", "white", None), ("light blue", "red", False),
        ("Red", "red", True), ("RED", "blue", False), ("red-colored", "red", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", PROTOCOL)
def test_shades_and_spellings(name, word, seen, fit):
    assert color_fit(word, seen) is fit
    verdict = judge(name, word, seen)
    assert verdict["correct"] is fit
    assert (verdict["status"] == IN_PART) == (fit is None)


def test_a_colour_that_nobody_looked_at_is_not_satisfied():
    verdict = judge("spatial", "red", None)
    assert verdict["status"] == IN_PART and verdict["unjudged"] == ["red car"]
    assert judge("geneval", "red", None)["status"] == "detector_failed"
