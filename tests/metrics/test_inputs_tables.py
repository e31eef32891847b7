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


@pytest.mark.parametrize("name", [n for n in PROTOCOLS if PROTOCOLS[n].evidence == "boxes"])
def test_every_protocol_of_boxes_refuses_some_that_are_not_finite(name):
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


def without_lists(table):
    return table.with_columns(pl.lit(None, DETECTIONS["detections"]).alias("detections"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.with_columns(pl.lit("ok").alias("status")), "status must be one of scored, "),
        (lambda t: t.with_columns(pl.lit(None, pl.String).alias("status")), "status must be one"),
        (without_lists, "a scored image has no list of detections .*: prompt_id 'a', sample 0"),
        (lambda t: t.with_columns(pl.lit(None, pl.Int32).alias("sample")), "no prompt_id or sam"),
        (lambda t: t.with_columns(pl.lit("x").alias("sample")), "detections: .*conversion"),
        (lambda t: t.with_columns(pl.col("sample") + 0.5), "sample must be a whole number"),
        (lambda t: t.with_columns(pl.lit("none").alias("detections")), r"^detections: [^\n]+$"),
        (lambda t: t.drop("status"), "no column 'status', found"),
        (lambda t: t.rename({"detections": "boxes"}), "no column 'detections', found"),
        (lambda t: t.with_columns(pl.lit(1).alias("sise")), r"unknown columns \['sise'\]"),
        (lambda t: pl.concat([t, t]), "the same image twice: prompt_id 'a', sample 0"),
        (lambda t: t.to_dicts(), "both as sequences"),
    ],
)
def test_tables_that_are_no_detections_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        VISOR().update(TABLE, change(images()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop("objects"), "prompts: no column 'objects', found"),
        (lambda t: t.with_columns(pl.lit(None, pl.String).alias("text")), "a row has no text"),
        (lambda t: pl.concat([t, t]), "the prompt id 'a' occurs twice in the prompts"),
        (lambda t: t.with_columns(pl.lit("on").alias("relations")), r"^prompts: [^\n]+$"),
    ],
)
def test_tables_that_are_no_prompts_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        VISOR().update(change(TABLE), images())


def test_equal_tables_of_other_types_are_accepted():
    array = pl.List(pl.Struct({"label": pl.String, "score": pl.Float32,
                               "box": pl.Array(pl.Float32, 4), "color": pl.Null,
                               "depth": pl.Float32}))  # fmt: skip
    given = images().with_columns(
        pl.col("sample").cast(pl.Int64),
        pl.col("prompt_id").replace("a", "7").cast(pl.Int64),
        pl.col("detections").cast(array),
    )
    metric = VISOR()
    metric.update(TABLE.with_columns(pl.col("prompt_id").replace("a", "7")), given)
    assert metric.compute()["images"] == {"expected": 2, "scored": 2}
