"""Two judges on one run: shifts, agreement, disputed images."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.files import write_table
from t2i_spatial.questions import QUESTIONS
from t2i_spatial.stages.judge_comparison import compare_judges
from t2i_spatial.stages.plan_of_asking import questions_of
from t2i_spatial.stages.protocols import make_protocols
from tests.stages.asked_run import add_answers, make_run


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "run", prompts=4, samples=1)
    add_answers(run, lambda *_: 0.9, name="sure")

    def other(prompt_id, sample, question):
        if prompt_id == "p3":
            return "refused"
        return 0.1 if prompt_id == "p1" and question["skill"] == "left of" else 0.8

    add_answers(run, other, name="other")
    asked = questions_of(make_protocols(("spatial_vqa",)), run.prompts()).select(list(QUESTIONS))
    for name in ("sure", "other"):
        write_table(run.path / "questions" / f"{name}.parquet", asked)
    return run


def test_shifts_and_disputes(run):
    found = compare_judges(run, "sure", "other")
    assert found.skills["object"]["shift"] == pytest.approx(-0.1)
    sides = found.skills["left of"]["questions"] + found.skills.get("right of", {}).get(
        "questions", 0
    )
    assert sides == 6
    assert found.skills["all"]["questions"] == 12
    assert found.unusable == (0, 4)
    assert found.disputed.rows() == [("p1", 0, 4, 2)]


def test_the_command_and_names_that_are_none(run):
    said = CliRunner().invoke(main, ["judges", "compare", str(run.path), "sure", "other"])
    assert "1 images are disputed\n  p1 sample 0: 2 of 4 questions" in said.stdout
    assert "4 answers of other cannot be used" in said.stdout
    plain = CliRunner().invoke(main, ["judges", "compare", str(run.path), "sure", "sure", "--json"])
    assert json.loads(plain.stdout)["disputed"] == []
    with pytest.raises(InputError, match="no answers 'othr'; did you mean 'other'"):
        compare_judges(run, "sure", "othr")
