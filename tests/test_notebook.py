"""What a notebook shows of runs, scores and comparisons."""

from __future__ import annotations

from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.run import Run
from t2i_spatial.stages.compare import Comparison, Pairs, ProtocolComparison
from t2i_spatial.stages.differences import Difference
from t2i_spatial.stages.score import make_protocols, score_tables
from t2i_spatial.statistics.paired import Difference as PairedDifference
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


def test_a_comparison_shows_points_and_p():
    better = PairedDifference(0.0, 1.0, 1.0, 0.5, 1.0, 0.0312, 6, 0, 6, 12)
    part = ProtocolComparison(Pairs(6, 12, 0, 0, 0, 0), {"OA": better}, None)
    shown = Comparison("a", "b", [], {"visor": part})._repr_html_()
    row = "<td>visor</td><td>OA</td><td>100.0</td><td>50.0 – 100.0</td><td>0.031</td>"
    assert row in shown
    apart = Difference("detect", "threshold", 0.1, 0.5, "measurement")
    assert "not measured alike (detect.threshold" in Comparison("a", "b", [apart])._repr_html_()
