"""What a notebook shows of runs, scores and comparisons."""

from __future__ import annotations

from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.run import Run
from t2i_spatial.stages.compare import compare_runs
from t2i_spatial.stages.score import make_protocols, score_tables
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt


def test_scores_are_a_table_in_per_cent():
    prompts = prompts_to_table([relation_prompt("cat", "left of", "dog", id="p")])
    right = detections(box("cat", 10, 10, 50, 50), box("dog", 200, 10, 240, 50))
    scores = score_tables(
        prompts, detection_rows({("p", 0): right}), make_protocols(["visor"]), Intervals()
    )
    shown = scores._repr_html_()
    assert "<caption>1 of 1 images scored</caption>" in shown
    assert "<tr><td>visor</td><td>OA</td><td>100.0</td>" in shown


def test_a_run_shows_its_stages_as_text(tmp_path):
    run = Run.create(tmp_path / "<run>")
    run.begin("generate", {"model": "<script>", "seed": 3, "long": ["x"] * 1000})
    shown = run._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;, seed 3" in shown
    assert "<td>generate</td><td>not finished</td>" in shown
    assert "<run>" not in shown and len(shown) < 1000


def test_a_comparison_shows_points_and_p(tmp_path):
    import numpy as np

    from tests.stages.test_compare import make_run

    a = make_run(tmp_path / "a", np.zeros((6, 2), int))
    b = make_run(tmp_path / "b", np.full((6, 2), 2))
    shown = compare_runs(a, b, (), Intervals(resamples=100))._repr_html_()
    assert "<tr><td>visor</td><td>OA</td><td>100.0</td>" in shown
    other = make_run(tmp_path / "c", np.zeros((6, 2), int), detect={"threshold": 0.5})
    assert "not measured alike (detect.threshold" in compare_runs(a, other)._repr_html_()
