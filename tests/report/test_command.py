from __future__ import annotations

from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.run import Run
from tests.report.drawn_run import drawn_run


def test_the_report_lands_in_the_run(tmp_path):
    run = drawn_run(tmp_path / "run")
    result = CliRunner().invoke(main, ["report", str(run.path)])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(run.path / "report.html")
    assert (run.path / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_the_report_can_go_elsewhere_with_fewer_images(tmp_path):
    run = drawn_run(tmp_path / "run")
    target = tmp_path / "sub" / "r.html"
    arguments = ["report", str(run.path), "-o", str(target), "--max-images", "1"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert target.read_text("utf-8").count('<article class="card"') == 1
    assert not run.has("report.html")


def test_a_run_without_scores_is_one_line_and_exit_1(tmp_path):
    Run.create(tmp_path / "run")
    result = CliRunner().invoke(main, ["report", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    result = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert result.exit_code == 1 and "run.json" in result.stderr
