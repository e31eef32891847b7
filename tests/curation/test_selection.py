from __future__ import annotations

from typing import ClassVar

import polars as pl
import pytest

from t2i_spatial.curation.filter import FILTERS, Filter
from t2i_spatial.curation.selection import select
from t2i_spatial.errors import InputError
from t2i_spatial.tables import SELECTION


def candidates(n=10, **columns):
    base = {
        "prompt_id": [str(i // 2) for i in range(n)],
        "sample": pl.Series([i % 2 for i in range(n)], dtype=pl.Int32),
        "image": [f"images/{i}.png" for i in range(n)],
        "text": [f"caption {i}" for i in range(n)],
        "status": ["scored"] * n,
        "status_reason": [None] * n,
        "correct": [True] * n,
        "verdict": ["because"] * n,
        "score": [0.9] * n,
        "margin": [0.5] * n,
        "value": [1.0] * n,
    }
    return pl.LazyFrame(base | columns)


def test_the_first_refusing_filter_and_its_reason_are_kept(tmp_path):
    rows = candidates(
        5,
        status=["scored", "image_missing", "scored", "scored", "scored"],
        status_reason=[None, "no file", None, None, None],
        correct=[True, None, False, True, True],
        score=[0.9, None, 0.1, 0.1, None],
    )
    selection = select(rows, ["scored", "correct", "score", "margin"], tmp_path / "s.parquet")
    table = selection.frame()
    assert table.schema == SELECTION
    assert table["kept"].to_list() == [True, False, False, False, False]
    assert table["filter"].to_list() == [None, "scored", "correct", "score", "score"]
    assert table["reason"].to_list() == [
        None,
        "image_missing: no file",
        "because",
        "lowest detector score 0.1 < 0.3",
        "the verdict used no box",
    ]
    assert table["caption"].to_list() == ["caption 0", None, None, None, None]
    assert table["weight"].to_list() == [1.0, None, None, None, None]
    assert selection.counts() == ("5 candidates → 4 scored → 3 correct → 1 confident → 1 clear")


def test_every_candidate_has_a_row_and_counts_add_up(tmp_path):
    rows = candidates(100, margin=[i / 100 for i in range(100)])
    selection = select(rows, [{"filter": "margin", "minimum": 0.25}], tmp_path / "s.parquet")
    assert (selection.candidates, selection.kept, selection.stages[0].refused) == (100, 75, 25)
    assert selection.frame()["prompt_id"].to_list() == [str(i // 2) for i in range(100)]


def test_a_threshold_is_reached_by_equality(tmp_path):
    rows = candidates(2, score=[0.3, 0.29999999])
    table = select(rows, ["score"], tmp_path / "s.parquet").frame()
    assert table["kept"].to_list() == [True, False]


def test_the_same_filter_twice_is_counted_twice(tmp_path):
    rows = candidates(4, margin=[0.1, 0.2, 0.3, 0.4])
    rules = [{"filter": "margin", "minimum": m} for m in (0.2, 0.3)]
    selection = select(rows, rules, tmp_path / "s.parquet")
    assert [(s.name, s.refused) for s in selection.stages] == [("margin", 1), ("margin 2", 1)]
    assert selection.frame()["filter"].to_list() == ["margin", "margin 2", None, None]


def test_the_unsure_band_is_open_at_its_ends(tmp_path):
    rows = candidates(4, value=[0.35, 0.5, 0.65, None])
    table = select(rows, ["unsure_band"], tmp_path / "s.parquet").frame()
    assert table["kept"].to_list() == [True, False, True, False]
    assert table["reason"][1] == "value 0.5 is between 0.35 and 0.65"


def test_no_filter_keeps_all_and_no_candidate_gives_an_empty_table(tmp_path):
    assert select(candidates(3), [], tmp_path / "a.parquet").kept == 3
    empty = select(candidates(0), ["correct"], tmp_path / "b.parquet")
    assert (empty.candidates, empty.kept, len(empty.frame())) == (0, 0, 0)


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(InputError, match="margin"):
        select(candidates(2).drop("margin"), ["margin"], tmp_path / "s.parquet")
    assert not (tmp_path / "s.parquet").exists()


def test_a_filter_of_ones_own_is_one_class(tmp_path):
    class Wide(Filter):
        name: ClassVar[str] = "wide"
        adjective: ClassVar[str] = "wide"
        ratio: float = 2.0

        def keep(self):
            return pl.col("width") >= self.ratio * pl.col("height")

        def reason(self):
            return pl.format("only {} x {}", "width", "height")

        def weight(self):
            return pl.col("width") / pl.col("height") / 4

    rows = candidates(2, width=[400, 100], height=[100, 100])
    table = select(rows, [Wide(), "correct"], tmp_path / "s.parquet").frame()
    assert table["reason"].to_list() == [None, "only 100 x 100"]
    assert table["weight"].to_list() == [1.0, None]


def test_all_registered_filters_carry_their_name():
    for name in FILTERS:
        assert FILTERS[name].name == name
        if issubclass(FILTERS[name], Filter):
            assert FILTERS[name].adjective
