"""Questions and answers under each image; where boxes and judge disagree comes first."""

from __future__ import annotations

import re

import polars as pl
import pytest

from t2i_spatial.files import write_table
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.questions import ANSWERS, QUESTIONS, Question, questions_to_table
from t2i_spatial.report import render_report
from t2i_spatial.report.answered import answered, disputes
from t2i_spatial.report.content import verdict_tables
from t2i_spatial.report.gallery import choose
from t2i_spatial.stages.plan_of_asking import questions_of
from t2i_spatial.stages.protocols import make_protocols
from t2i_spatial.stages.score import score_run
from t2i_spatial.tables import SCORED, VERDICTS
from tests.stages.asked_run import add_answers, make_run

ALL = pl.DataFrame({"prompt_id": ["p0", "p1"], "sample": [0, 0]}).cast({"sample": pl.Int32})


@pytest.fixture
def run(tmp_path):
    """Two images: a judge is content with the first and refuses an object of the second."""
    run = make_run(tmp_path / "run", prompts=2, samples=1)

    def p(prompt_id, sample, question):
        if prompt_id == "p1" and question["skill"] == "object" and "dog" in question["text"]:
            return "refused"
        return 0.9 if prompt_id == "p0" else 0.2

    add_answers(run, p)
    asked = questions_of(make_protocols(("spatial_vqa",)), run.prompts()).select(list(QUESTIONS))
    write_table(run.path / "questions" / "judge.parquet", asked)
    score_run(run, [PROTOCOLS["spatial_vqa"]()])
    return run


def boxes_say(run, *correct):
    rows = [
        {"prompt_id": f"p{k}", "sample": 0, "protocol": "spatial", "value": 0.95 if good else 0.1,
         "correct": good, "status": SCORED, "reason": "boxes"}
        for k, good in enumerate(correct)
    ]  # fmt: skip
    run.write_verdicts(pl.DataFrame(rows, schema=VERDICTS), "spatial")


def test_what_was_asked_and_said_of_an_image(run):
    found = answered(run, ALL)
    (first,), (second,) = found["p0", 0], found["p1", 0]
    assert (first.judge, first.n, first.n_right, first.n_counted) == ("judge", 4, 4, 4)
    assert {one.how for one in first.said} == {"90 % for it"}
    kinds = [one.kind for one in second.said]
    assert kinds == sorted(kinds, key=["wrong", "unsure", "told", "right"].index)
    assert [one.answer for one in second.said if one.kind == "unsure"] == ["refused"]


def test_options_are_told_in_words_and_votes_counted(run):
    asked = Question("Where?", "choice", ("on top", "below"), "A", template="letter/1")
    table = questions_to_table([("p0", asked)])
    write_table(run.path / "questions" / "votes.parquet", table)
    rows = [
        {"prompt_id": "p0", "sample": 0, "question_id": asked.id, "rollout": k,
         "status": "answered", "answer": said}
        for k, said in enumerate("BBA")
    ]  # fmt: skip
    run.write_answers(pl.DataFrame(rows, schema=ANSWERS), "votes")
    (one,) = answered(run, ALL)["p0", 0][1].said
    assert (one.kind, one.answer, one.wanted, one.how) == (
        "wrong",
        "below",
        "on top",
        "2 of 3 votes",
    )


def test_disagreement_comes_first_and_is_told(run):
    boxes_say(run, True, True)  # the judge is content with p0 only
    apart = disputes(verdict_tables(run))
    assert apart.select("prompt_id", "boxes", "judge").rows() == [
        ("p1", "Spatial: right", "Spatial VQA: wrong")
    ]
    assert choose(run, 1, disputed=True)[0].rows() == [("p1", 0)]
    page = render_report(run)
    assert '<option value="disputed">boxes and judge disagree first</option>' in page
    assert "Boxes and judge say the opposite of 1 of 2 images" in page
    assert re.findall(r'data-disputed="([\d.]+)"', page)
    assert '<p class="sides">Spatial: right, Spatial VQA: wrong</p>' in page
    assert "judge: 4 of 4 as asked for" in page


def test_without_a_second_opinion_nothing_is_disputed(run):
    assert disputes(verdict_tables(run)).is_empty()
    page = render_report(run)
    assert "disagree first" not in page
    assert "judge: 4 of 4 as asked for" in page


def test_what_a_judge_says_never_becomes_markup(run):
    asked = Question("<b>What?</b>", "text", template="say/1")
    write_table(run.path / "questions" / "said.parquet", questions_to_table([("p0", asked)]))
    row = {"prompt_id": "p0", "sample": 0, "question_id": asked.id, "rollout": 0,
           "status": "answered", "answer": "<script>alert(1)</script>"}  # fmt: skip
    run.write_answers(pl.DataFrame([row], schema=ANSWERS), "said")
    page = render_report(run)
    assert "<b>What?" not in page
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
