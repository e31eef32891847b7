"""GenEval 2's Soft-TIFA on three prompts in the peer's format, with totals worked out by hand."""

from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.geneval2 import GenEval2
from t2i_spatial.questions import TEMPLATES, table_to_question
from t2i_spatial.tables import IN_PART
from tests.metrics.asked.answered import components, read, scored

PIG, CATS, CAR = "Are there any pigs in the image?", "How many cats are in the image?", "Is it red?"
RECORDS = [
    {"prompt": "a pig", "atom_count": 3, "vqa_list": [[PIG, "Yes"]], "skills": ["object"]},
    {
        "prompt": "two cats",
        "atom_count": 3,
        "vqa_list": [[CATS, "two"], ["Are there any cats in the image?", "Yes"]],
        "skills": ["count", "object"],
    },
    {
        "prompt": "a red car",
        "atom_count": 4,
        "vqa_list": [[CAR, "Yes"], ["Are there any cars in the image?", "Yes"]],
        "skills": ["attribute", "object"],
    },
]
METRIC = GenEval2()


def said(answer, mass=1.0, status="answered", **chances):
    """A reply with probabilities among the allowed answers, and what these have together."""
    listed = [{"answer": key.strip("_"), "p": p} for key, p in chances.items()]
    return {"status": status, "answer": answer, "mass": mass, "chances": listed}


REPLIES = {
    PIG: said("yes", 0.9, yes=0.8, no=0.2),  # 0.72
    CATS: said("3", 0.5, _2=0.32, _3=0.68),  # 0.16
    "Are there any cats in the image?": said("yes", 1.0, yes=1.0, no=0.0),  # 1
    CAR: said("no", 1.0, yes=0.25, no=0.75),  # 0.25
    "Are there any cars in the image?": said("yes", 1.0, yes=1.0, no=0.0),  # 1
}


def reply(_, row):
    return [REPLIES[row["text"]]]


def test_the_question_is_the_peers():
    question = table_to_question(METRIC.questions(read(RECORDS)).row(1, named=True))
    assert question.shown() == f"{CATS} Answer in one word."
    template = TEMPLATES[question.template]
    assert (template.max_tokens, template.temperature, template.image_first) == (1, 0.0, True)
    assert (question.kind, question.gold, question.skill) == ("count", "2", "count")


def test_totals():
    verdicts, summary = scored(METRIC, RECORDS, reply)
    value = {name: entry["value"] for name, entry in summary.items() if "value" in entry}
    assert value["soft_tifa_am"] == pytest.approx((0.72 + 0.58 + 0.625) / 3)
    assert value["soft_tifa_gm"] == pytest.approx((0.72 + 0.4 + 0.5) / 3)
    assert value["tifa"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    # pooled over atoms, as in the peer's analysis
    assert value["object"] == pytest.approx((0.72 + 1 + 1) / 3)
    assert (value["count"], value["attribute"]) == (pytest.approx(0.16), pytest.approx(0.25))
    assert (value["position"], value["verb"]) == (None, None)
    by_atoms = summary["by_tag"]
    assert by_atoms["3 atoms"]["soft_tifa_gm"]["value"] == pytest.approx((0.72 + 0.4) / 2)
    assert by_atoms["4 atoms"]["soft_tifa_gm"]["value"] == pytest.approx(0.5)
    assert verdicts["correct"].to_list() == [True, False, False]


def test_one_atom_at_zero_makes_the_geometric_mean_zero():
    zero = {**REPLIES, CAR: said("no", 1.0, yes=0.0, no=1.0)}
    _, summary = scored(METRIC, RECORDS[2:], lambda _, row: [zero[row["text"]]])
    assert (summary["soft_tifa_gm"]["value"], summary["soft_tifa_am"]["value"]) == (0, 0.5)


def test_probabilities_count_where_most_of_them_is_elsewhere():
    off = {**REPLIES, PIG: said(None, 0.25, status="off_format", yes=0.8, no=0.2)}
    _, summary = scored(METRIC, RECORDS[:1], lambda _, row: [off[row["text"]]])
    assert summary["soft_tifa_am"]["value"] == pytest.approx(0.2)
    assert summary["tifa"]["value"] == 0
    _, among = scored(GenEval2(among_allowed=True), RECORDS[:1], lambda _, row: [off[row["text"]]])
    assert among["soft_tifa_am"]["value"] == pytest.approx(0.8)


def test_refusals_are_bounds():
    refused = {**REPLIES, "Are there any cats in the image?": "refused", CATS: said("2", 1, _2=1.0)}
    verdicts, summary = scored(METRIC, RECORDS, lambda _, row: [refused[row["text"]]])
    assert verdicts["status"].to_list()[1] == IN_PART
    assert summary["soft_tifa_am"]["value"] == pytest.approx((0.72 + 0.5 + 0.625) / 3)
    assert summary["soft_tifa_am_at_most"]["value"] == pytest.approx((0.72 + 1 + 0.625) / 3)
    assert summary["soft_tifa_gm"]["value"] == pytest.approx((0.72 + 0 + 0.5) / 3)
    assert components(verdicts.row(1, named=True))["am"] == 0.5


def test_votes_stand_in_for_probabilities():
    _, summary = scored(METRIC, RECORDS[:1], lambda *_: ["yes", "yes", "no", "yes"])
    assert summary["soft_tifa_am"]["value"] == 0.75
    assert summary["tifa"]["value"] == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"skills": []}, "vqa_list has 1 entries, skills has 0"),
        ({"skills": ["taste"]}, "unknown skill 'taste'"),
        ({"vqa_list": [[PIG, "No"]]}, "must be Yes"),
        ({"vqa_list": [[CATS, "many"]]}, "needs a number"),
        ({"vqa_list": [[PIG]]}, r"must be \[question, answer\]"),
    ],
)
def test_broken_records(change, told):
    with pytest.raises(InputError, match=told):
        METRIC.questions(read([RECORDS[0] | change]))
