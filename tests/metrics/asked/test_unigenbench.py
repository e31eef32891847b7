"""UniGenBench on three prompts in the peer's format, with totals worked out by hand."""

from __future__ import annotations

import csv
import json

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.unigenbench import UniGenBench, UniGenBenchStrict, read_scores
from t2i_spatial.prompts import load_prompts
from t2i_spatial.tables import IN_PART, prompts_to_table
from tests.metrics.asked.answered import images_of, read, replied

TWO_D, THREE_D = "Entity Layout - Two-Dimensional Space", "Entity Layout - Three-Dimensional Space"
POINTS = {
    "0": [(TWO_D, "cat on the left"), ("Style", "ink")],
    "1": [(TWO_D, "a row of cups"), ("Relationship - Comparison", "one is larger")],
    "2": [(THREE_D, "behind the car"), (TWO_D, "above it"), ("Attribute - Color", "red")],
}


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "test_prompts_en.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("index", "prompt_en", "sub_dims_en"))
        for index, points in POINTS.items():
            told = {
                "Primary Categories": "Art",
                "Testpoints": [name for name, _ in points],
                "Testpoint Description": [description for _, description in points],
            }
            rows.writerow((index, f"prompt {index}", json.dumps(told)))
    return prompts_to_table(load_prompts(path))


def in_form(*scores):
    analysis = [f"it's {score}" for score in scores]
    return (
        "<description>\n <prompt>p</prompt>\n <checkpoint>c</checkpoint>\n"
        f" <analysis>{analysis}</analysis>\n <score>\n{list(scores)}\n</score>\n</description>"
    )


def judged(metric, prompts, reply):
    answers = replied(metric, prompts, reply)
    verdicts = metric.judge_answers(prompts, images_of(prompts), answers)
    return verdicts, metric.summarize(verdicts, prompts)


def test_totals_are_pooled(prompts):
    said = {"0": in_form(1, 0), "1": in_form(0, 1), "2": in_form(1, 1, 1)}
    verdicts, summary = judged(UniGenBench(), prompts, lambda prompt, _: [said[prompt]])
    value = {name: entry["value"] for name, entry in summary.items() if "value" in entry}
    assert value["layout_2d"] == pytest.approx(2 / 3)
    assert value["layout_3d"] == 1
    assert value["layout"] == pytest.approx(3 / 4)
    assert value["relationship"] == value["comparison"] == 1
    assert value["similarity"] is None
    assert value["all"] == pytest.approx(5 / 7)
    assert value["images_at_least"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert verdicts["correct"].to_list() == [False, False, True]


def test_quirk_a_reply_that_cannot_be_parsed_leaves_the_denominator(prompts):
    said = {"0": in_form(1), "1": in_form(0, 1), "2": in_form(1, 1, 1)}
    verdicts, summary = judged(UniGenBench(), prompts, lambda prompt, _: [said[prompt]])
    assert verdicts["status"].to_list()[0] == IN_PART
    assert summary["all"]["value"] == pytest.approx(4 / 5)
    assert summary["images_at_least"]["value"] == pytest.approx(0.5)
    assert summary["images_at_most"]["value"] == pytest.approx(2.5 / 3)


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        (in_form(1, 0), [1, 0]),
        (in_form(1, 0).replace("<score>", "<score> "), [1, 0]),
        ("**Answer**\n" + in_form(1, 0) + "\nDone.", [1, 0]),
        (in_form("1", 0), ["1", 0]),  # "1" is not 1: not fulfilled, as for the peer
        (in_form(1, 0, 1), None),
        (in_form(1, 0).replace("</score>", ""), None),
        (in_form(1, 0).replace("<analysis>[", "<analysis>"), None),
        ("<analysis>fine</analysis><score>[1, 0]</score>", None),
        ("I'm sorry.", None),
        (None, None),
    ],
)
def test_a_reply_is_read_as_the_peer_reads_it(text, scores):
    assert read_scores(text, 2) == scores


def test_strict_every_checkpoint_alone_and_refusals_as_bounds(prompts):
    def reply(_, row):
        return ["refused" if "row of cups" in row["text"] else 0.2 if "ink" in row["text"] else 0.9]

    verdicts, summary = judged(UniGenBenchStrict(), prompts, reply)
    assert verdicts["status"].to_list()[1] == IN_PART
    assert summary["layout_2d"]["value"] == pytest.approx(2 / 3)
    assert summary["all"]["value"] == pytest.approx(5 / 7)
    assert summary["all_at_most"]["value"] == pytest.approx(6 / 7)


def test_broken_records_are_told():
    with pytest.raises(InputError, match="must be a JSON object"):
        read([{"index": 0, "prompt_en": "p", "sub_dims_en": "{"}])
    uneven = {"Testpoints": ["a", "b"], "Testpoint Description": ["c"]}
    with pytest.raises(InputError, match="2 test points with 1 descriptions"):
        UniGenBench().questions(
            read([{"index": 0, "prompt_en": "p", "sub_dims_en": json.dumps(uneven)}])
        )
