"""The ask stage, against a replaying server: what is asked, kept, asked again and never lost."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.judges.sending import JudgeError
from t2i_spatial.metrics.spatial_vqa import SpatialVQA
from t2i_spatial.questions import ANSWERED, ERROR, Question, questions_to_table
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.stages.ask import AskSettings, ask_run
from t2i_spatial.stages.ask_worker import AskWorker
from t2i_spatial.stages.config import PipelineSettings
from t2i_spatial.stages.pipeline import check_pipeline, run_pipeline
from t2i_spatial.tables import (
    IMAGE_MISSING,
    IMAGE_UNREADABLE,
    prompts_to_table,
)
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


def test_files_that_vanish_or_break_are_told_and_looked_at_again(tmp_path):
    run = make_run(tmp_path / "run")
    images = run.path / "images"
    kept = (images / "p0_0.png").read_bytes()
    (images / "p0_0.png").unlink()
    (images / "p0_1.png").write_bytes(kept[:40])
    with ReplayingServer(right) as server:
        first = ask(run, server)
        assert first.statuses == {ANSWERED: 32, IMAGE_MISSING: 8, IMAGE_UNREADABLE: 8}
        assert first.left == 0
        assert run.answers("m").filter(pl.col("status") == IMAGE_MISSING)["reason"][0] == (
            "p0_0.png: no such file"
        )
        (images / "p0_0.png").write_bytes(kept)
        second = ask(run, server)
    assert (second.pending, second.statuses) == (16, {ANSWERED: 40, IMAGE_UNREADABLE: 8})


def test_too_large_a_file_is_not_sent(tmp_path, monkeypatch):
    monkeypatch.setattr("t2i_spatial.stages.ask_worker.MOST_BYTES", 10)
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    with ReplayingServer(right) as server:
        ask(run, server)
        assert server.bodies == []
    assert "more than the limit of 10" in run.answers("m")["reason"][0]


def test_another_picture_under_the_same_name_is_not_what_was_asked_about(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    with ReplayingServer(right) as server:
        ask(run, server)
        Image.new("RGB", (8, 8), "red").save(run.path / "images" / "p0_0.png")
        with pytest.raises(PlanMismatchError, match=r"'ask-m' has looked at.*`ask` with --overwr"):
            ask(run, server)
        redone = ask_run(run, [SpatialVQA()], settings(server), overwrite=True)
    assert redone.pending == 8


def test_more_samples_are_asked_about_and_nothing_else(tmp_path):
    run = make_run(tmp_path / "run")
    whole = run.images()
    run.write_images(whole.filter(pl.col("sample") == 0))
    with ReplayingServer(right) as server:
        assert ask(run, server).pending == 24
        run.write_images(whole)
        assert ask(run, server).pending == 24
    assert run.answers("m")["sample"].to_list()[:16] == [0] * 8 + [1] * 8


def test_what_other_protocols_asked_stays(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    other = SpatialVQA()
    asked = [("p0", Question("Is it raining?", gold="no"))]
    other.questions = lambda prompts: questions_to_table(asked)
    with ReplayingServer(right) as server:
        ask(run, server)
        more = ask_run(run, [other], settings(server))
    assert more.pending == 2
    stored = pl.read_parquet(run.path / "questions" / "m.parquet")
    assert len(stored) == QUESTIONS + 1
    assert len(run.answers("m")) == 10


def test_an_interruption_keeps_the_batches_that_are_done(tmp_path, monkeypatch):
    monkeypatch.setattr("t2i_spatial.stages.ask.BATCH", 1)
    run = make_run(tmp_path / "run")
    done = []

    def interrupted(worker, batch, call=AskWorker.__call__):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(batch)
        return call(worker, batch)

    with ReplayingServer(right) as server:
        with monkeypatch.context() as patched:
            patched.setattr(AskWorker, "__call__", interrupted)
            with pytest.raises(KeyboardInterrupt):
                ask(run, server)
        assert len(run.answers("m")) == 3 * 8
        assert not run.is_finished("ask-m")
        assert ask(run, server).pending == 3 * 8


def test_cached_replies_cost_no_tokens(tmp_path):
    first, second = (make_run(tmp_path / name, prompts=1, samples=1) for name in ("a", "b"))
    with ReplayingServer(right) as server:
        ask(first, server, cache=tmp_path / "cache")
        result = ask(second, server, cache=tmp_path / "cache", max_tokens=1)
        assert (result.left, len(server.bodies)) == (0, 8)


def test_the_command(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    with ReplayingServer(right) as server:
        arguments = ["ask", str(run.path), "--judge", server.url, "--judge-model", "m"]
        more = ["-p", "spatial_vqa", "--option", "probe=false"]
        dry = CliRunner().invoke(main, [*arguments, *more, "--dry-run"])
        assert "8 requests about 1 images" in dry.stderr
        said = CliRunner().invoke(main, [*arguments, *more, "--json"])
        assert json.loads(said.stdout)["statuses"] == {ANSWERED: 8}
        again = CliRunner().invoke(main, [*arguments, *more])
        assert again.stdout == "m: 8 of 8 questions answered\n"
        wrong = CliRunner().invoke(main, [*arguments, "-p", "visor"])
        assert "visor judges boxes and asks nothing; protocols that ask:" in wrong.stderr
    scored = CliRunner().invoke(main, ["score", str(run.path), "-p", "spatial_vqa", "--json"])
    assert json.loads(scored.stdout)["spatial_vqa"]["accuracy"]["value"] == 1.0


def test_a_judge_that_answers_nothing_fails_the_command(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    with ReplayingServer(lambda b, n: failure(422, "no images please")) as server:
        said = CliRunner().invoke(
            main, ["ask", str(run.path), "--judge", server.url, "--option", "probe=false"]
        )
    assert said.exit_code != 0
    assert "none of the 8 questions was answered (most: 422: no images please)" in said.stderr
    assert "8 error\n  most of them: 422: no images please" in said.stdout
    assert run.answers("v1")["reason"][0] == "422: no images please"


def test_a_config_file_asks_before_it_scores(tmp_path):
    folder = make_run(tmp_path / "first").path / "images"
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat to the left of a dog\n" * 3)
    with ReplayingServer(right) as server:
        settings = PipelineSettings.model_validate(
            {
                "output": tmp_path / "run",
                "prompts": {"source": str(prompts), "repeated": "keep"},
                "images": {"folder": folder},
                "ask": {"judge": server.url, "judge_model": "m", "options": {"probe": False}},
                "score": {"protocols": ["spatial_vqa"]},
                "report": None,
            }
        )
        for image in sorted(folder.iterdir()):
            image.rename(folder / image.name.replace("p", "0000", 1))
        _, scores = run_pipeline(settings)
    assert scores.summary["spatial_vqa"]["accuracy"]["value"] == 1.0
    nobody = settings.model_copy(update={"ask": None, "output": tmp_path / "other"})
    with pytest.raises(InputError, match="add a section `ask`"):
        check_pipeline(nobody)


def test_prompts_without_anything_to_ask_are_an_error(tmp_path):
    run = make_run(tmp_path / "run")
    run.write_prompts(prompts_to_table([Prompt("p0", "x", scene=SceneSpec())]))
    with pytest.raises(InputError, match="nothing to ask"):
        ask_run(run, [SpatialVQA()], AskSettings(judge="http://127.0.0.1:9/v1"))
