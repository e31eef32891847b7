"""Answers through the score stage and what follows it: numbers, judge, compare, curate, report."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.run import Run
from t2i_spatial.stages.compare import compare_runs
from t2i_spatial.stages.protocols import make_protocols
from t2i_spatial.stages.score import score_run
from t2i_spatial.tables import DETECTIONS, IN_PART, SCORED
from tests.stages.asked_run import add_answers, make_run

BOXES = [
    {"label": "cat", "score": 0.9, "box": [0.0, 2.0, 2.0, 6.0], "color": None, "depth": None},
    {"label": "dog", "score": 0.9, "box": [5.0, 2.0, 8.0, 6.0], "color": None, "depth": None},
]


def with_boxes(run):
    run.begin("detect", {"detector": "imported", "source": "boxes"})
    images = run.images().drop("seed")
    boxes = pl.Series("detections", [BOXES] * len(images), DETECTIONS["detections"])
    run.write_detections(images.with_columns(boxes))
    run.finish("detect")
    return run


def test_a_run_without_boxes_is_scored_by_its_answers(tmp_path):
    run = add_answers(make_run(tmp_path / "run"), lambda *_: 0.8)
    result = CliRunner().invoke(main, ["score", str(run.path), "-p", "spatial_vqa"])
    assert result.exit_code == 0, result.output
    first = result.stdout.splitlines()[0]
    assert first.startswith("spatial_vqa: 6 of 6 images scored; judge: Tiny-VL (")
    assert "probabilities, 2 times" in first
    summary = json.loads((run.path / "summary.json").read_text())["spatial_vqa"]
    assert summary["probability"]["value"] == pytest.approx(0.8)
    assert summary["judge"]["model"] == "Tiny-VL"
    assert set(summary["judge"]["templates"]) == {"letter/1", "yes_no/1"}
    assert Run.open(run.path).plan("score")["spatial_vqa"]["judge"] == summary["judge"]


def test_boxes_and_answers_are_judged_in_one_call(tmp_path):
    run = add_answers(with_boxes(make_run(tmp_path / "run")), lambda *_: 0.8)
    scores = score_run(run, make_protocols(["visor", "spatial_vqa"]))
    assert scores.summary["visor"]["VISOR_uncond"]["value"] == 1
    assert scores.summary["spatial_vqa"]["accuracy"]["value"] == 1
    assert "judge" not in scores.summary["visor"]
    # scores of one kind survive the other's
    score_run(run, make_protocols(["visor"]))
    assert set(run.summary()) == {"visor", "spatial_vqa"}
    add_answers(run, lambda *_: 0.9, name="other")
    score_run(run, make_protocols(["spatial_vqa"]), answers="other")
    assert set(run.summary()) == {"visor", "spatial_vqa"}


def test_what_a_detector_could_not_see_a_judge_can(tmp_path):
    run = add_answers(with_boxes(make_run(tmp_path / "run")), lambda *_: 0.8)
    failed = run.detections().with_columns(
        status=pl.lit("detector_failed"), detections=pl.lit(None, DETECTIONS["detections"])
    )
    run.write_detections(failed)
    scores = score_run(run, make_protocols(["visor", "spatial_vqa"]))
    assert scores.verdicts["visor"]["status"].unique().to_list() == ["detector_failed"]
    assert scores.verdicts["spatial_vqa"]["status"].unique().to_list() == [SCORED]


def test_open_answers_bound_the_numbers(tmp_path):
    def p(prompt_id, sample, question):
        return "refused" if (prompt_id, sample) == ("p0", 0) and question["options"] else 0.9

    run = add_answers(make_run(tmp_path / "run"), p)
    scores = score_run(run, make_protocols(["spatial_vqa"]))
    assert scores.verdicts["spatial_vqa"]["status"][0] == IN_PART
    numbers = scores.summary["spatial_vqa"]
    assert numbers["accuracy"]["value"] == pytest.approx(5 / 6)
    assert numbers["accuracy_at_most"]["value"] == pytest.approx(1)
    assert numbers["probability"]["value"] == pytest.approx(0.9 * 5 / 6)
    assert numbers["probability_at_most"]["value"] == pytest.approx((0.9 * 5 + 1) / 6)
    assert numbers["accuracy_at_most"]["n_images"] == 6


def test_a_run_without_answers_says_what_to_run(tmp_path):
    run = with_boxes(make_run(tmp_path / "run"))
    result = CliRunner().invoke(main, ["score", str(run.path), "-p", "visor", "-p", "spatial_vqa"])
    assert result.exit_code == 1
    assert f"run `t2i-spatial ask {run.path} -p spatial_vqa`" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_answers_are_chosen_by_name(tmp_path):
    run = with_boxes(make_run(tmp_path / "run"))
    add_answers(run, lambda *_: 0.8, name="a")
    add_answers(run, lambda *_: 0.4, name="b")
    protocols = make_protocols(["spatial_vqa"])
    with pytest.raises(InputError, match=r"several judges \(a, b\)"):
        score_run(run, protocols)
    with pytest.raises(InputError, match="no answers 'c'"):
        score_run(run, protocols, answers="c")
    with pytest.raises(InputError, match="visor judge boxes, not answers"):
        score_run(run, make_protocols(["visor"]), answers="a")
    assert score_run(run, protocols, answers="b").summary["spatial_vqa"]["accuracy"]["value"] == 0


def compared(tmp_path, **plan):
    rollouts = plan.pop("rollouts", 2)
    runs = []
    for name, more, times in (("a", {}, 2), ("b", plan, rollouts)):
        run = add_answers(make_run(tmp_path / name), lambda *_: 0.8, rollouts=times, **more)
        score_run(run, make_protocols(["spatial_vqa"]))
        runs.append(run.path)
    return compare_runs(*runs)


def test_the_same_judge_is_compared_and_named(tmp_path):
    comparison = compared(tmp_path, judge="http://elsewhere", seed=3)
    assert comparison.comparable
    assert comparison.protocols["spatial_vqa"].judge.startswith("Tiny-VL (")
    assert [(d.key, d.kind) for d in comparison.differences] == [("spatial_vqa.seed", "pairing")]


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("model", {"model": "Other-VL"}),
        ("revision", {"revision": "abc"}),
        ("probabilities", {"probabilities": False}),
        ("rollouts", {"rollouts": 1}),
        ("templates", {"templates": {"yes_no/1": {"name": "yes_no/1", "suffix": "?"}}}),
    ],
)
def test_another_way_of_asking_is_not_compared(tmp_path, key, change):
    comparison = compared(tmp_path, **change)
    assert not comparison.comparable
    found = {d.key for d in comparison.differences if d.kind == "measurement"}
    assert f"spatial_vqa.{key}" in found


def test_how_boxes_were_made_is_nothing_to_answers(tmp_path):
    runs = []
    for name in "ab":
        run = add_answers(make_run(tmp_path / name), lambda *_: 0.8)
        run.begin("detect", {"detector": name})
        run.finish("detect")
        score_run(run, make_protocols(["spatial_vqa"]))
        runs.append(run.path)
    assert compare_runs(*runs).comparable


def test_answers_that_changed_make_the_scores_stale(tmp_path):
    run = add_answers(make_run(tmp_path / "run"), lambda *_: 0.8)
    score_run(run, make_protocols(["spatial_vqa"]))
    run.write_answers(run.answers("judge").with_columns(seconds=1.0), "judge")
    with pytest.raises(Exception, match=r"answers/judge\.parquet is not the file"):
        run.summary()


def test_curate_and_report_take_such_verdicts(tmp_path):
    run = add_answers(make_run(tmp_path / "run"), lambda prompt, *_: 0.9 if prompt > "p0" else 0.1)
    score_run(run, make_protocols(["spatial_vqa"]))
    where = str(run.path)
    kept = CliRunner().invoke(main, ["curate", where, "-p", "spatial_vqa"])
    assert kept.exit_code == 0, kept.output
    assert pl.read_parquet(run.path / "selection.parquet")["kept"].sum() == 4
    told = CliRunner().invoke(main, ["report", where])
    assert told.exit_code == 0, told.output
    page = (run.path / "report.html").read_text("utf-8")
    assert "Judge: Tiny-VL (" in page


def test_what_is_no_run_has_no_answers(tmp_path):
    run = with_boxes(make_run(tmp_path / "run"))
    told = "spatial_vqa judges by answers: make a run"
    arguments = ["--prompts", run.path / "prompts.parquet", "-p", "spatial_vqa"]
    boxes = run.path / "detections" / "main.parquet"
    result = CliRunner().invoke(main, list(map(str, ["score", "--detections", boxes, *arguments])))
    assert result.exit_code == 1
    assert told in result.stderr
    output = tmp_path / "new"
    images = ["score", "--images", run.path / "images", "-o", output, "--detector", "bundled"]
    result = CliRunner().invoke(main, list(map(str, [*images, *arguments])))
    assert result.exit_code == 1
    assert told in result.stderr
    assert not output.exists()
    result = CliRunner().invoke(
        main, ["score", str(run.path), "-p", "spatial_vqa", "--precision", "0.1"]
    )
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_report_shows_what_letters_alone_score(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    options = "Options: A: a, B: b, C: c, D: d, E: None"
    record = {"questions": [f"{k}? {options}" for k in range(10)], "answers": list("CCCCCCCABD")}
    metadata = json.dumps({"spatialgeneval": record})
    run.write_prompts(run.prompts().with_columns(metadata=pl.lit(metadata)))
    add_answers(run, lambda *_: 0.9, ["spatialgeneval_strict"])
    score_run(run, make_protocols(["spatialgeneval_strict"]))
    assert CliRunner().invoke(main, ["report", str(run.path)]).exit_code == 0
    page = (run.path / "report.html").read_text("utf-8")
    assert "A judge that looks at no picture: guessing once 20.0 %" in page
