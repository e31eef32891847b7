"""Tables that others made are refused by name, whichever protocol they are given to."""

from __future__ import annotations

import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics import PROTOCOLS, VISOR
from t2i_spatial.run import Run
from t2i_spatial.stages.score import score_run
from t2i_spatial.tables import DETECTIONS, prompts_to_table
from tests.builders import relation_prompt

PROMPTS = [relation_prompt("cat", "left of", "dog", i) for i in ("a", "b")]
TABLE = prompts_to_table(PROMPTS)
CAT = {"label": "cat", "score": 0.9, "box": [0.0, 0.0, 10.0, 10.0], "color": None, "depth": None}
DOG = CAT | {"label": "dog", "box": [20.0, 20.0, 30.0, 30.0]}
ROW = {"prompt_id": "a", "sample": 0, "width": 40, "height": 40, "status": "scored"}


def images(first=CAT, **changed):
    rows = [{**ROW, "detections": [DOG]}, {**ROW, "sample": 1, "detections": [DOG, first]}]
    rows[1] |= changed
    return pl.DataFrame(rows, schema=DETECTIONS)


BROKEN_BOXES = [
    (CAT | {"box": [float("nan")] * 4}, "a box is not finite: prompt_id 'a', sample 1"),
    (CAT | {"box": [0.0, 0.0, float("inf"), 5.0]}, "a box is not finite"),
    (CAT | {"box": [10.0, 10.0, 0.0, 0.0]}, "a box is inverted"),
    (CAT | {"box": [0.0, 0.0, 42.0, 5.0]}, "a box lies outside its image"),
    (CAT | {"box": [10.0, 10.0]}, "a box needs four numbers"),
    (CAT | {"box": [0.0, None, 10.0, 10.0]}, "a box needs four numbers"),
    (CAT | {"box": None}, "a box needs four numbers"),
    (CAT | {"score": float("nan")}, "a score is not in"),
    (CAT | {"score": 7.0}, "a score is not in"),
    (CAT | {"score": None}, "a score is not in"),
    (CAT | {"depth": 7.0}, "a depth is not in"),
    (CAT | {"label": None}, "a detection has no label"),
]


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_protocol_refuses_boxes_that_are_not_finite(name):
    broken, message = BROKEN_BOXES[0]
    with pytest.raises(InputError, match=message):
        PROTOCOLS[name]().judge(TABLE, images(broken))


@pytest.mark.parametrize(("broken", "message"), BROKEN_BOXES)
def test_broken_boxes_are_refused_with_the_image(broken, message):
    with pytest.raises(InputError, match=message):
        VISOR().judge(TABLE, images(broken))


def test_tables_in_order_are_judged_as_they_are():
    within = CAT | {"box": [-1.0, 0.0, 41.0, 41.0], "depth": 0.5}
    verdicts = VISOR().judge(TABLE, images(within))
    assert verdicts["value"].to_list() == [0.0, 1.0]
    assert verdicts["evidence"][1][0]["box"] == within["box"]
    unknown_size = images(CAT | {"box": [-50.0, 0.0, 900.0, 5.0]}, width=None, height=None)
    assert len(VISOR().judge(TABLE, unknown_size)) == 2


def test_stored_detections_of_a_run_are_checked_when_it_is_scored(tmp_path):
    run = Run.create(tmp_path / "run")
    run.write_prompts(TABLE)
    run.write_detections(images())
    images(BROKEN_BOXES[0][0]).write_parquet(run.path / "detections" / "main.parquet")
    with pytest.raises(InputError, match="a box is not finite: prompt_id 'a', sample 1"):
        score_run(run, [VISOR()])
    assert not run.has("summary.json")
