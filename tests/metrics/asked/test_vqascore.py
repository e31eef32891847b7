"""VQAScore: the wording is a version, the number a probability among all tokens."""

from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.vqascore import VQAScore
from t2i_spatial.stages.protocols import make_protocols
from t2i_spatial.tables import IN_PART, SCORED
from tests.metrics.asked.answered import read, scored

RECORDS = [{"id": k, "text": f"picture {k} of {{braces}}"} for k in range(3)]


def said(yes, no, status="answered"):
    mass = yes + no
    chances = [{"answer": "yes", "p": yes / mass}, {"answer": "no", "p": no / mass}]
    return {
        "status": status,
        "answer": "yes" if yes > no else "no",
        "mass": mass,
        "chances": chances,
    }


def test_two_versions_are_two_questions():
    asked = {
        version: VQAScore(version=version).questions(read(RECORDS)).row(0, named=True)
        for version in ("3.0", "3.1")
    }
    said_so = 'Does this figure show "picture 0 of {braces}"? Please answer '
    assert asked["3.0"]["text"] == said_so + "yes or no."
    assert asked["3.1"]["text"] == said_so + "Yes or No."
    assert asked["3.0"]["template"] == "vqascore/3.0"
    assert len({row["question_id"] for row in asked.values()}) == 2
    assert make_protocols(["vqascore"], ["vqascore.version=3.0"])[0].version == "3.0"
    with pytest.raises(InputError, match=r"vqascore\.version '2'"):
        VQAScore(version="2")


def test_totals():
    replies = {"0": said(0.6, 0.2), "1": said(0.1, 0.2, "off_format"), "2": "refused"}
    verdicts, summary = scored(VQAScore(), RECORDS, lambda prompt, _: [replies[prompt]])
    assert verdicts["status"].to_list() == [SCORED, SCORED, IN_PART]
    assert verdicts["value"].to_list() == [pytest.approx(0.6), pytest.approx(0.1), None]
    assert summary["vqascore"]["value"] == pytest.approx(0.7 / 3)
    assert summary["vqascore_at_most"]["value"] == pytest.approx(1.7 / 3)
    assert summary["among_allowed"]["value"] == pytest.approx(0.75)


def test_quirk_where_only_no_is_listed_yes_is_the_rest():
    _, summary = scored(VQAScore(), RECORDS[:1], lambda *_: [said(0.0, 0.9)])
    assert summary["vqascore"]["value"] == pytest.approx(0.1)


def test_votes_stand_in_for_probabilities():
    _, summary = scored(VQAScore(), RECORDS[:1], lambda *_: ["yes", "no", "yes", "refused"])
    assert summary["vqascore"]["value"] == pytest.approx(2 / 3)
