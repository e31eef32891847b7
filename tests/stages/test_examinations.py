"""What is known of a judge is found again for the same judge only, and told beside its numbers."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.questions import QUESTIONS
from t2i_spatial.report import render_report
from t2i_spatial.run import Run
from t2i_spatial.stages import examinations
from t2i_spatial.stages.card import differences, make_card, markdown
from t2i_spatial.stages.score import score_run
from t2i_spatial.stages.score_table import format_table
from tests.stages.asked_run import PLAN, add_answers, make_run

URL = {**PLAN, "revision": None, "weights": None, "dtype": "float32"}
LOCAL = {**URL, "judge": "bundled", "backend": "transformers", "model": None, "weights": "aa"}


def share(value, low, high):
    return {"value": value, "low": low, "high": high, "pairs": 8}


def page(plan=URL, **change):
    return {
        "judge": plan,
        "templates": ["yes_no/1", "letter/1"],
        "examined": "2026-11-25",
        "accuracy": {"exists": share(0.98, 0.9, 1.0), "left": share(0.5, 0.3, 0.7)},
        **change,
    }


def questions(*rows):
    made = [
        {"prompt_id": "0", "question_id": str(k), "skill": s, "kind": kind, "template": template}
        for k, (s, kind, template) in enumerate(rows)
    ]
    return pl.DataFrame(made, schema=QUESTIONS)


def test_the_line_is_about_the_skills_that_are_asked():
    asked = questions(
        ("object", "yes/no", "yes_no/1"),
        ("facing", "choice", "letter/1"),
        ("next to", "choice", "letter/1"),
        ("next to", "choice", "letter/1"),
    )
    found = examinations.measured(page(), asked)
    assert found["said"] == "on drawings exists 98.0 % [90.0, 100.0]; never: next to, facing"
    assert found["careful"] == []


def test_guessing_at_a_skill_that_is_asked_is_a_warning():
    asked = questions(
        ("object", "yes/no", "yes_no/1"),
        ("left of", "choice", "letter/1"),
        ("right of", "choice", "letter/1"),
    )
    (line,) = examinations.measured(page(), asked)["careful"]
    assert line == (
        "the judge cannot be told from guessing at left (50.0 % [30.0, 70.0] on drawings), which "
        "2 of 3 questions are about"
    )
    counted = page(accuracy={"count": share(0.4, 0.2, 0.6)})
    # of six numbers guessing gets a sixth
    assert not examinations.measured(counted, questions((None, "count", "number/1")))["careful"]


def test_other_words_published_sets_and_nothing_at_all():
    sets = {"vsr": {"title": "VSR", "numbers": {"random": share(0.61, 0.6, 0.62)}}}
    found = examinations.measured(page(sets=sets), questions((None, "yes/no", "vqascore/3.1")))
    assert "left 50.0 % [30.0, 70.0]; on VSR 61.0 % [60.0, 62.0]" in found["said"]
    assert found["said"].endswith("; in other words than here (vqascore/3.1)")
    never = examinations.measured(None, questions(("object", "yes/no", "yes_no/1")))
    assert never["said"].startswith("never measured")


def test_the_last_examination_of_the_same_judge_is_found(tmp_path, capsys):
    run = Run.create(tmp_path / "run")
    examinations.remember(page())
    examinations.adopt(run, "judge", {**URL, "model": "Other-VL"})
    assert examinations.of_run(run, "judge", URL) is None
    examinations.adopt(run, "judge", URL)
    assert examinations.of_run(run, "judge", URL) == page()
    assert "this judge was examined on 2026-11-25" in capsys.readouterr().err
    # the run's own is not replaced by a later one unless that is named
    examinations.remember(page(examined="2027-01-01"))
    examinations.adopt(run, "judge", URL)
    assert examinations.of_run(run, "judge", URL)["examined"] == "2026-11-25"


def test_a_local_judge_is_its_weights_wherever_they_lie(tmp_path):
    run = Run.create(tmp_path / "run")
    examinations.remember(page(LOCAL))
    examinations.adopt(run, "judge", {**LOCAL, "judge": "transformers:/elsewhere"})
    assert examinations.of_run(run, "judge", LOCAL) == page(LOCAL)
    assert examinations.of_run(run, "judge", {**LOCAL, "weights": "bb"}) is None


def test_a_named_file_comes_first_and_must_be_of_this_judge(tmp_path):
    run = Run.create(tmp_path / "run")
    examinations.remember(page())
    file = tmp_path / "found.json"
    file.write_text(json.dumps(page(examined="2020-01-01")))
    examinations.adopt(run, "judge", URL, file)
    assert examinations.of_run(run, "judge", URL)["examined"] == "2020-01-01"
    with pytest.raises(InputError, match="another judge: model is 'Tiny-VL' there, 'X' here"):
        examinations.adopt(run, "judge", {**URL, "model": "X"}, file)
    file.write_text("[]")
    with pytest.raises(InputError, match="is no examination of a judge"):
        examinations.adopt(run, "judge", URL, file)


def test_a_broken_memory_is_told_and_no_obstacle(tmp_path, capsys, monkeypatch):
    run = Run.create(tmp_path / "run")
    examinations.remember(page())
    (stored,) = examinations.store().iterdir()
    stored.write_text("{")
    examinations.adopt(run, "judge", URL)
    assert "the last examination of this judge cannot be used" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("T2I_SPATIAL_DATA", str(tmp_path / "file"))
    examinations.remember(page())
    assert "is not kept for other runs" in capsys.readouterr().err


@pytest.fixture
def scored(tmp_path):
    run = make_run(tmp_path / "run")
    add_answers(run, lambda *_: 0.9, revision=None, weights=None, dtype="float32")
    examinations.keep(run, "judge", page())
    scores = score_run(run, [_protocol()])
    return run, scores


def _protocol():
    from t2i_spatial.metrics.base import PROTOCOLS

    return PROTOCOLS["spatial_vqa"]()


def test_every_place_that_shows_the_numbers_says_it(scored, capsys):
    run, scores = scored
    line = "on drawings exists 98.0 % [90.0, 100.0], left 50.0 % [30.0, 70.0]"
    assert f"judge measured: {line}" in format_table(scores.summary)
    summary = run.summary()["spatial_vqa"]
    assert summary["measured"]["said"] == line
    assert any("cannot be told from guessing at left" in told for told in summary["warnings"])
    card = make_card(run)
    assert card["judges"] == {"spatial_vqa": line}
    assert "judge measured: on drawings exists" in markdown(card)
    assert differences({**card, "judges": {}}, run) == []
    page_text = render_report(run)
    assert f"Judge measured: {line}." in page_text
    assert "cannot be told from guessing at left" in page_text


def test_numbers_of_a_judge_whom_nobody_measured_say_so(tmp_path):
    run = make_run(tmp_path / "run")
    add_answers(run, lambda *_: 0.9)
    told = format_table(score_run(run, [_protocol()]).summary)
    assert "judge measured: never measured (`t2i-spatial doctor --judge ... --run RUN`)" in told


def test_an_examination_of_another_judge_is_not_kept_with_a_run(scored):
    run, _ = scored
    with pytest.raises(InputError, match="are those of another judge: model is 'Tiny-VL' there"):
        examinations.keep(run, "judge", page({**URL, "model": "X"}))


def test_the_option_is_known_to_ask():
    assert "--examination" in CliRunner().invoke(main, ["ask", "--help"]).stdout
