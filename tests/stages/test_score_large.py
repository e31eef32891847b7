"""Scoring a large run slice by slice: the numbers, verdicts and warnings of the whole."""

from __future__ import annotations

import pytest

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.run import Run
from t2i_spatial.stages.score import make_protocols, score_run
from tests.stages.large_runs import PROMPTS, SAMPLES, Reads, large_run, small_bounds

NAMES = ["visor", "geneval", "spatial"]


@pytest.mark.parametrize(
    "options", [{}, {"samples": 3, "intervals": Intervals(allow_missing=True)}]
)
def test_slices_of_a_run_give_what_the_whole_gives(tmp_path, monkeypatch, capsys, options):
    whole = large_run(tmp_path / "whole")
    known = score_run(whole, make_protocols(NAMES), **options)
    said = capsys.readouterr().err
    small_bounds(monkeypatch)
    run = large_run(tmp_path / "large")
    assert len(parts.part_files(run.path / "detections" / "main.parquet")) == 5
    found = score_run(run, make_protocols(NAMES), **options)
    assert found.verdicts == {} and (run.path / "verdicts" / "visor.parquet").is_dir()
    assert found.summary == known.summary == run.summary()
    assert (found.n_scored, found.n_expected) == (known.n_scored, known.n_expected)
    assert capsys.readouterr().err == said
    for name in NAMES:
        assert run.verdicts(name).equals(whole.verdicts(name))


def test_no_table_is_read_whole(tmp_path, monkeypatch):
    small_bounds(monkeypatch)
    run = large_run(tmp_path / "run", samples=8)
    reads = Reads(monkeypatch)
    score_run(run, make_protocols(NAMES))
    # three times as many boxes as images, in the slices that are judged
    assert 0 < reads.most <= 3 * parts.BATCH + PROMPTS < PROMPTS * 8 / 2


def test_warnings_are_counted_over_slices(tmp_path, monkeypatch, capsys):
    small_bounds(monkeypatch)
    score_run(large_run(tmp_path / "one", samples=1), make_protocols(["visor"]))
    monkeypatch.setattr("t2i_spatial.stages.score_stream.LARGE", 10)
    run = large_run(tmp_path / "two", samples=1)
    score_run(run, make_protocols(["visor"]))
    first, second = capsys.readouterr().err.splitlines()
    assert first == second and f"one image for each of {PROMPTS} prompts" in first
    assert run.summary()["visor"]["warnings"] == [first.removeprefix("careful: ")]


def test_tables_of_another_order_are_scored_all_the_same(tmp_path, monkeypatch):
    whole = large_run(tmp_path / "whole")
    known = score_run(whole, make_protocols(NAMES))
    small_bounds(monkeypatch)
    mixed = large_run(tmp_path / "mixed", shuffled=True)
    assert score_run(mixed, make_protocols(NAMES)).summary == known.summary


def test_an_image_that_comes_twice_is_refused_and_older_scores_stay(tmp_path, monkeypatch):
    small_bounds(monkeypatch)
    run = large_run(tmp_path / "run")
    score_run(run, make_protocols(["visor"]))
    for name in ("images", "detections"):
        table = getattr(run, name)()
        # far apart, so that no slice holds both
        getattr(run, f"write_{name}")(table[:-1].vstack(table[:1]))
    with pytest.raises(InputError, match="same image twice"):
        score_run(run, make_protocols(["visor"]))
    assert not list((run.path / "verdicts").glob(".*"))
    assert Run.open(run.path).manifest["stages"]["score"]["results"]["n_expected"] == (
        PROMPTS * SAMPLES
    )


def test_a_run_that_is_killed_while_verdicts_appear_is_scored_anew(tmp_path, monkeypatch):
    small_bounds(monkeypatch)
    run = large_run(tmp_path / "run")
    known = score_run(run, make_protocols(["visor"])).summary
    publish = parts.Writer.publish

    def killed(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts.Writer, "publish", killed)
    with pytest.raises(KeyboardInterrupt):
        score_run(run, make_protocols(["visor"]))
    with pytest.raises(InputError, match="not finished"):
        run.summary()
    monkeypatch.setattr(parts.Writer, "publish", publish)
    assert score_run(run, make_protocols(["visor"])).summary == known
