"""The ask stage, against a replaying server: what is asked, kept, asked again and never lost."""

from __future__ import annotations

import polars as pl
import pytest

from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.judges.sending import JudgeError
from t2i_spatial.metrics.spatial_vqa import SpatialVQA
from t2i_spatial.questions import ANSWERED, ERROR
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.stages.ask import AskSettings, ask_run
from t2i_spatial.tables import IMAGE_MISSING, prompts_to_table
from tests.judges.replaying_server import ReplayingServer, failure, said, text_of
from tests.stages.asked_run import make_run

QUESTIONS = 4  # two objects, one relation from both sides


def right(body, number):
    """Yes to everything, and the first option as listed."""
    text = text_of(body)
    if "Options" not in text and "A. " not in text:
        return said("Yes", {"Yes": 0.9, "No": 0.1})
    lines = {
        line[3:].removesuffix(" Answer with one letter."): line[0] for line in text.split("\n")[1:]
    }
    holds = ("the cat is to the left of the dog", "the dog is to the right of the cat")
    letter = next(lines[statement] for statement in holds if statement in lines)
    return said(letter, {letter: 0.8, "BA"["AB".index(letter)]: 0.2})


def settings(server, **more):
    options = {"patience": 5.0, "timeout": 5.0, "probe": False, **more.pop("options", {})}
    return AskSettings(judge=server.url, judge_model="m", options=options, **more)


def ask(run, server, **more):
    return ask_run(run, [SpatialVQA()], settings(server, **more))


def test_every_image_is_asked_every_question_and_judged(tmp_path):
    run = make_run(tmp_path / "run")
    with ReplayingServer(right) as server:
        result = ask(run, server)
        assert (result.expected, result.pending, result.asked, result.left) == (48, 48, 48, 0)
        assert len(server.bodies) == 48
        again = ask(run, server)
        assert (again.pending, len(server.bodies)) == (0, 48)
    answers = run.answers("m")
    assert len(answers) == 6 * QUESTIONS * 2
    assert answers["status"].unique().to_list() == [ANSWERED]
    images = run.images()
    verdicts = SpatialVQA().judge_answers(run.prompts(), images, answers)
    assert verdicts["correct"].to_list() == [True] * 6
    assert verdicts["value"].to_list() == pytest.approx([0.8] * 6)


def test_a_lost_image_has_rows_with_its_status(tmp_path):
    run = make_run(tmp_path / "run", missing=[("p1", 0)])
    with ReplayingServer(right) as server:
        result = ask(run, server)
    assert result.asked == 40
    lost = run.answers("m").filter(pl.col("status") == IMAGE_MISSING)
    assert len(lost) == QUESTIONS * 2
    verdicts = SpatialVQA().judge_answers(run.prompts(), run.images(), run.answers("m"))
    assert verdicts["status"].to_list().count(IMAGE_MISSING) == 1


def test_errors_are_asked_again_and_nothing_else(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    with ReplayingServer(lambda b, n: failure(422, "no") if n == 2 else right(b, n)) as server:
        first = ask(run, server)
        assert first.statuses == {ANSWERED: 7, ERROR: 1}
        second = ask(run, server)
        assert (second.pending, second.statuses) == (1, {ANSWERED: 8})
        assert len(server.bodies) == 9


def test_a_server_that_goes_away_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("t2i_spatial.stages.ask.BATCH", 1)
    run = make_run(tmp_path / "run")
    with ReplayingServer(lambda b, n: failure(401, "bye") if n >= 20 else right(b, n)) as server:
        with pytest.raises(JudgeError, match="401"):
            ask(run, server)
        kept = len(run.answers("m"))
        assert 0 < kept <= 20
    with ReplayingServer(right) as server:
        more = AskSettings(judge=server.url, judge_model="m", name="m", options={"probe": False})
        with pytest.raises(PlanMismatchError, match="judge"):
            ask_run(run, [SpatialVQA()], more)
        ask_run(run, [SpatialVQA()], more, overwrite=True)
        assert len(server.bodies) == 48
    assert len(run.answers("m")) == 48


def test_an_interrupted_call_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("t2i_spatial.stages.ask.BATCH", 1)
    run = make_run(tmp_path / "run")
    gone = [True]
    with ReplayingServer(
        lambda b, n: failure(403, "quota") if gone[0] and n >= 20 else right(b, n)
    ) as server:
        with pytest.raises(JudgeError):
            ask(run, server)
        kept = len(run.answers("m"))
        gone[0] = False
        result = ask(run, server)
    assert (result.pending, result.left) == (48 - kept, 0)
    whole = make_run(tmp_path / "whole")
    with ReplayingServer(right) as server:
        ask(whole, server)
    drop = ("seconds",)
    key = ["prompt_id", "sample", "question_id", "rollout"]
    assert run.answers("m").drop(drop).sort(key).equals(whole.answers("m").drop(drop).sort(key))


def test_budgets_stop_and_the_rest_can_be_asked_later(tmp_path, monkeypatch):
    monkeypatch.setattr("t2i_spatial.stages.ask.BATCH", 1)
    run = make_run(tmp_path / "run")
    with ReplayingServer(right) as server:
        some = ask(run, server, max_requests=10)
        assert (some.asked, some.left, len(server.bodies)) == (10, 38, 10)
        assert not run.is_finished("ask-m")
        more = ask(run, server, max_tokens=7 * 8)
        assert more.left > 0
        assert len(server.bodies) < 48
        assert ask(run, server).left == 0
        assert len(server.bodies) == 48


def test_a_dry_run_counts_and_asks_nothing(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    nobody = AskSettings(judge="http://127.0.0.1:9/v1", judge_model="m")
    result = ask_run(run, [SpatialVQA()], nobody, dry_run=True)
    assert (result.pending, result.asked, result.images) == (48, 0, 6)
    assert "48 requests about 6 images, about 4" in capsys.readouterr().err
    assert not (run.path / "answers").exists()


def test_without_probabilities_votes_are_sampled(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    plain = ReplayingServer(lambda b, n: said(["red", "blue"][n] if n < 2 else "Yes"))
    with plain as server:
        result = ask(run, server, votes=3, options={"probe": True})
        assert result.expected == QUESTIONS * 3
        temperatures = {body["temperature"] for body in server.bodies[2:]}
    assert temperatures == {1.0}


def test_prompts_without_anything_to_ask_are_an_error(tmp_path):
    run = make_run(tmp_path / "run")
    run.write_prompts(prompts_to_table([Prompt("p0", "x", scene=SceneSpec())]))
    with pytest.raises(InputError, match="nothing to ask"):
        ask_run(run, [SpatialVQA()], AskSettings(judge="http://127.0.0.1:9/v1"))
