"""DSG: gating by direct parents as published, by all ancestors in ours, and graphs of scenes."""

from __future__ import annotations

import csv

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.dsg import DSG, DSGStrict, peer_says_yes
from t2i_spatial.prompts import load_prompts
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import IN_PART, prompts_to_table
from tests.metrics.asked.answered import components, images_of, replied

HEADER = (
    "item_id", "text", "keywords", "proposition_id", "dependency", "category_broad",
    "category_detailed", "tuple", "question_natural_language",
)  # fmt: skip
# item: (id, dependency, category, question); answers of the fixture below
ITEMS = {
    "vrd_1": [
        ("1", "0", "entity", "Is there a man?"),
        ("2", "1", "entity", "Is there a hat?"),
        ("3", "2", "attribute", "Is the hat red?"),
        ("4", "1,2", "relation", "Is the hat on the man?"),
    ],
    "vrd_2": [("1", "0", "entity", "Is there a dog?")],
    "poses_7": [
        ("1", "0", "entity", "Is there a cat?"),
        ("2", "1", "attribute", "Is the cat black?"),
    ],
}


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "dsg.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for item, questions in ITEMS.items():
            for key, dependency, category, text in questions:
                rows.writerow(
                    (item, f"text of {item}", "", key, dependency, category, "", "", text)
                )
    return prompts_to_table(load_prompts(path))


def judged(metric, prompts, replies):
    def reply(_, row):
        return [next(said for text, said in replies.items() if text in row["text"])]

    answers = replied(metric, prompts, reply)
    verdicts = metric.judge_answers(prompts, images_of(prompts), answers)
    return verdicts, metric.summarize(verdicts, prompts)


def raw(text):
    return {"raw": text, "answer": "yes" if text.lower().startswith("y") else "no"}


REPLIES = {
    "Is there a man?": raw("no"),
    "Is there a hat?": raw("Yes."),  # gated away by the man
    "Is the hat red?": raw("yes"),  # its own parent says yes: survives, ungated grandparent
    "Is the hat on the man?": raw("yes"),  # gated
    "Is there a dog?": raw("yes"),
    "Is there a cat?": raw("yes"),
    "Is the cat black?": raw("Yes, it is"),  # not "yes" to the letter
}


def test_the_file_becomes_one_prompt_per_item(prompts):
    assert prompts["prompt_id"].to_list() == ["vrd_1", "vrd_2", "poses_7"]
    assert prompts["tag"].to_list() == ["vrd", "vrd", "poses"]
    assert len(DSG().questions(prompts)) == 7


def test_totals_as_published(prompts):
    verdicts, summary = judged(DSG(), prompts, REPLIES)
    shares = [components(row)["score"] for row in verdicts.iter_rows(named=True)]
    assert shares == [0.25, 1.0, 0.5]
    assert summary["dsg"]["value"] == pytest.approx(1.75 / 3)
    assert summary["dsg_ungated"]["value"] == pytest.approx((0.75 + 1 + 0.5) / 3)
    assert summary["by_tag"]["vrd"]["dsg"]["value"] == pytest.approx(0.625)
    assert summary["attribute"]["value"] == pytest.approx(0.5)  # 1 of 2
    assert summary["entity"]["value"] == pytest.approx(0.5)  # 2 of 4


def test_strict_a_grandchild_of_no_is_no(prompts):
    verdicts, summary = judged(DSGStrict(), prompts, REPLIES)
    shares = [components(row)["score"] for row in verdicts.iter_rows(named=True)]
    assert shares == [0.0, 1.0, 1.0]  # "Yes, it is" is a yes
    assert summary["dsg"]["value"] == pytest.approx(2 / 3)


def test_quirk_a_refusal_is_no_and_strict_a_bound(prompts):
    replies = {**REPLIES, "Is the cat black?": "refused"}
    verdicts, summary = judged(DSG(), prompts, replies)
    assert summary["dsg"]["value"] == pytest.approx((0.25 + 1 + 0.5) / 3)
    assert summary["dsg_at_most"]["value"] == pytest.approx((0.25 + 1 + 1) / 3)
    verdicts, summary = judged(DSGStrict(), prompts, {**replies, "Is there a man?": raw("yes")})
    assert verdicts["status"].to_list()[2] == IN_PART
    assert (summary["dsg"]["value"], summary["dsg_at_most"]["value"]) == (pytest.approx(2.5 / 3), 1)


@pytest.mark.parametrize(
    ("text", "yes"),
    [("yes", True), ("Yes.", True), (" YES!\n", True), ("yes\n\nbecause", False), ("Ja", False)],
)
def test_the_peer_takes_yes_to_the_letter(text, yes):
    assert peer_says_yes({"raw": text, "answer": None}) is yes


def test_any_scene_has_a_graph():
    scene = SceneSpec(
        (ObjectSpec("cat", 2, "red"), ObjectSpec("dog")),
        (RelationSpec(0, "left of", 1),),
    )
    prompts = prompts_to_table([Prompt("p", "two red cats left of a dog", scene=scene)])
    nodes = DSGStrict().nodes(Prompt("p", "", scene=scene))
    assert [(n.category, n.parents) for n in nodes] == [
        ("entity", ()),
        ("attribute", ("1",)),
        ("attribute", ("1",)),
        ("entity", ()),
        ("relation", ("1", "4")),
    ]
    _, summary = judged(DSGStrict(), prompts, {"Is there a cat": 0.1, "": 0.9})
    assert summary["dsg"]["value"] == pytest.approx(1 / 5)
    assert DSG().questions(prompts).is_empty()


@pytest.mark.parametrize(
    ("dependency", "told"),
    [("9", "depends on 9, which is not there"), ("1", "depends on itself"), ("x", "not a DSG")],
)
def test_broken_graphs_are_told(dependency, told):
    row = {
        "proposition_id": 1,
        "dependency": dependency,
        "category_broad": "entity",
        "question_natural_language": "Is it?",
    }
    with pytest.raises(InputError, match=told):
        DSG().questions(prompts_to_table([Prompt("p", "it", metadata={"dsg": row})]))
