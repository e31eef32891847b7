"""Two detectors: opposite verdicts become ambiguous, with both pieces of evidence."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.run import Run
from t2i_spatial.stages.agreement import agree_run, disagreements
from t2i_spatial.stages.score import make_protocols
from t2i_spatial.tables import VERDICTS, prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

LEFT = detections(box("cat", 0, 0, 50, 50), box("dog", 100, 0, 150, 50))
RIGHT = detections(box("dog", 0, 0, 50, 50), box("cat", 100, 0, 150, 50))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "run")
    made.write_prompts(prompts_to_table([relation_prompt("cat", "left of", "dog", "p")]))
    first = {("p", 0): LEFT, ("p", 1): LEFT, ("p", 2): RIGHT, ("p", 3): LEFT}
    second = {("p", 0): LEFT, ("p", 1): RIGHT, ("p", 2): RIGHT}
    made.write_detections(detection_rows(first))
    made.write_detections(detection_rows(second, {("p", 3): "detector_failed"}), "second")
    return made


def test_opposite_verdicts_are_ambiguous(run: Run) -> None:
    scores = agree_run(run, make_protocols(["visor"]), "second")
    table = run.verdicts("visor")
    assert table.equals(scores.verdicts["visor"])
    assert table["status"].to_list() == ["scored", "ambiguous", "scored", "scored"]
    row = table.row(1, named=True)
    assert (row["value"], row["correct"], row["margin"]) == (None, None, None)
    assert row["reason"].startswith("main: ")
    assert "; second: " in row["reason"]
    places = {entry["role"]: entry["box"][0] for entry in row["evidence"]}
    assert {role.split("(")[1] for role in places} == {"main)", "second)"}
    assert len(places) == 4
    assert run.manifest["stages"]["agree"]["results"] == {"agreement": {"visor": 0.75}}
    assert (scores.n_expected, scores.n_scored) == (4, 3)


def test_ambiguous_images_have_no_score(run: Run) -> None:
    agree_run(run, make_protocols(["visor"]), "second")
    strict = json.loads((run.path / "summary.json").read_text())["visor"]
    agree_run(run, make_protocols(["visor"]), "second", Intervals(allow_missing=True))
    lenient = json.loads((run.path / "summary.json").read_text())["visor"]
    assert strict["images"]["ambiguous"] == 1
    assert strict["VISOR_uncond"]["value"] == pytest.approx(2 / 4)
    assert lenient["VISOR_uncond"]["value"] == pytest.approx(2 / 3)


def test_agreement_of_a_detector_with_itself(run: Run) -> None:
    first = run.detections()
    run.write_detections(first, "same")
    scores = agree_run(run, make_protocols(["visor"]), "same")
    assert scores.verdicts["visor"]["status"].unique().to_list() == ["scored"]


def test_missing_second_opinion(run: Run) -> None:
    with pytest.raises(InputError, match=r"detections/third\.parquet"):
        agree_run(run, make_protocols(["visor"]), "third")


def test_empty_tables() -> None:
    empty = pl.DataFrame(schema=VERDICTS)
    assert disagreements(empty, empty).equals(empty)


def test_the_command_prints_and_refuses(run: Run) -> None:
    from click.testing import CliRunner

    from t2i_spatial.cli.main import main

    arguments = ["score", str(run.path), "-p", "visor", "--agree", "second", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["visor"]["images"]["ambiguous"] == 1
    result = CliRunner().invoke(main, [*arguments, "--allow-missing"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["score", "--images", str(run.path), "--agree", "second"])
    assert result.exit_code == 2
