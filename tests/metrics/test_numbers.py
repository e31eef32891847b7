"""The numbers that are compared are those that are printed, by name and by value."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages.compare import compare_pairs, join_verdicts
from t2i_spatial.tables import IMAGE_MISSING, VERDICTS, prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt
from tests.scripts import load_script

PAIR = relation_prompt("cat", "left of", "dog").scene
ONE_CAT = SceneSpec((ObjectSpec("cat"),), ())
PLAN = {"boxes": [{"name": "cat", "box": [0, 0, 0.2, 0.2]}, {"name": "dog", "box": [0, 0, 1, 1]}]}
PROMPTS = prompts_to_table(
    Prompt(k, "a cat to the left of a dog", "position", PAIR, {"layout": PLAN}) for k in "ab"
)
IMAGES = detection_rows(
    {
        ("a", 0): detections(box("cat", 0, 0, 99, 99), box("dog", 200, 0, 250, 50)),
        ("a", 1): detections(box("cat", 0, 0, 99, 99), box("dog", 10, 0, 90, 99)),
        ("b", 0): detections(box("cat", 0, 0, 90, 90)),
    },
    {("b", 1): IMAGE_MISSING},
)


def drawn_verdicts(protocol):
    """Verdicts as any evidence may have given them: right, wrong, without a score, not asked."""
    rng = np.random.default_rng(0)
    rows = []
    for prompt_id, sample in itertools.product("ab", range(4)):
        scored = sample < 3
        value = float(rng.integers(2))
        components = [{"name": part, "value": float(rng.integers(2))} for part in protocol.parts]
        rows.append(
            {"prompt_id": prompt_id, "sample": sample, "protocol": protocol.name, "tag": prompt_id}
            | {"status": "scored" if scored else IMAGE_MISSING}
            | (
                {"value": value, "correct": value > 0.5, "components": components}
                if scored
                else {"reason": "no image"}
            )
        )
    return pl.DataFrame(rows, schema=VERDICTS)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_number_that_is_printed_is_compared_too(name):
    protocol = PROTOCOLS[name]()
    verdicts = drawn_verdicts(protocol)
    summary = protocol.summarize(verdicts, PROMPTS, resamples=10)
    printed = {number for number, entry in summary.items() if "value" in entry}
    assert printed == set(protocol.numbers)
    pairs = join_verdicts(verdicts, verdicts)
    compared = compare_pairs(pairs, name, Intervals(resamples=100)).numbers
    for number, entry in summary.items():
        if number in printed:
            expected = entry["value"] if entry["value"] is None else pytest.approx(entry["value"])
            assert compared[number].a == compared[number].b == expected, number


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_groups_hold_declared_numbers_and_every_number_has_a_meaning(name):
    kind = PROTOCOLS[name]
    assert all(rate.meaning for rate in kind.numbers.values())
    for names in kind.groups.values():
        assert set(names) <= set(kind.numbers)


def test_a_tag_may_be_called_like_a_number():
    """Tags stand in a group of their own: none can overwrite a number or the counts."""
    tags = ("overall", "images", "images_correct")
    prompts = prompts_to_table(Prompt(tag, "a cat", tag, ONE_CAT) for tag in tags)
    images = detection_rows(
        {
            ("overall", 0): detections(box("cat", 0, 0, 90, 90)),
            ("images", 0): detections(box("cat", 0, 0, 90, 90)),
            ("images_correct", 0): detections(),
        }
    )
    protocol = PROTOCOLS["geneval"]()
    summary = protocol.summarize(protocol.judge(prompts, images), prompts)
    assert summary["overall"]["value"] == pytest.approx(2 / 3)
    assert summary["images"] == {"expected": 3, "scored": 3}
    assert {tag: part["images_correct"]["value"] for tag, part in summary["by_tag"].items()} == {
        "overall": 1.0,
        "images": 1.0,
        "images_correct": 0.0,
    }


def test_a_conditional_number_counts_its_own_denominator():
    protocol = PROTOCOLS["visor"]()
    summary = protocol.summarize(protocol.judge(PROMPTS, IMAGES), PROMPTS)
    counts = {
        name: [summary[name][key] for key in ("n_prompts", "n_images", "n_expected")]
        for name in ("VISOR_uncond", "VISOR_cond")
    }
    # of four expected images three were looked at, two of one prompt show both objects
    assert counts == {"VISOR_uncond": [2, 3, 4], "VISOR_cond": [1, 2, 2]}


def test_a_mean_without_a_lower_end_is_compared_on_its_own_scale():
    prompts = prompts_to_table(Prompt(k, "a cat", "single_object", ONE_CAT) for k in "abcd")
    many = detections(*(box("cat", 40 * k, 0, 40 * k + 30, 30) for k in range(9)))
    one = detections(box("cat", 0, 0, 90, 90))
    kind = PROTOCOLS["geneval_reward"]()
    sides = [
        kind.judge(prompts, detection_rows({(k, 0): found for k in "abcd"}))
        for found in (many, one)
    ]
    soft = compare_pairs(join_verdicts(*sides), "geneval_reward").numbers["soft"]
    assert (soft.a, soft.b, soft.value) == pytest.approx((-7, 1, 8))
    assert soft.low is not None and soft.low <= 8 <= (soft.high or 0)


def test_the_table_of_the_documentation_is_current():
    script = load_script("numbers_table")
    text = script.TABLE.file.read_text("utf-8")
    assert script.TABLE.page(text) == text, "run scripts/numbers_table.py"
    for name in ("VISOR_cond", "prompts_correct", "probability"):
        assert f"| `{name}` |" in text
