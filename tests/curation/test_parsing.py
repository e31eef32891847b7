from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from t2i_spatial.curation.filter import FILTERS
from t2i_spatial.curation.parsing import describe_filters, parse_filter, read_pipeline
from t2i_spatial.errors import InputError


def test_a_pipeline_is_data(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text("filters:\n  - correct\n  - filter: score\n    minimum: 0.5\n")
    rules = read_pipeline(path)
    assert rules == [{"filter": "correct"}, {"filter": "score", "minimum": 0.5}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- corect\n", "filter 1: unknown filter 'corect'; did you mean 'correct'"),
        ("- correct\n- {filter: score, minimun: 0.5}\n", "no parameter 'minimun'; did you mean"),
        ("- {filter: score, minimum: much}\n", "filter 1: filter 'score', minimum"),
        ("- {filter: score, minimum: 1.5}\n", "less than or equal to 1"),
        ("- {minimum: 0.5}\n", "with the key 'filter'"),
        ("- {filter: correct, limit: 3}\n", "no parameter 'limit'; it has none"),
        ("filter: correct\n", "must be a list of filters"),
        ("[]\n", "must be a list of filters"),
        ("- [broken\n", "is not YAML"),
    ],
)
def test_a_wrong_pipeline_says_where(tmp_path, text, message):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        read_pipeline(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_pipeline(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scor", "did you mean 'scop'|did you mean 'score'"),
        ("score:0.5", "'0.5' is not of the form KEY=VALUE"),
        ("score:minimum=lots", "filter 'score', minimum"),
        ("{filter: score", "is not YAML"),
        ("{minimum: 3}", "with the key 'filter'"),
    ],
)
def test_a_wrong_filter_on_the_command_line_is_explained(text, message):
    with pytest.raises(InputError, match=message):
        parse_filter(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("balance:over=[relation", "is not YAML"),
        ("unsure_band:low=0.9,high=0.1", "low 0.9 is above high 0.1"),
        ("column:column=x,minimum=2,maximum=1", "minimum 2 is above maximum 1"),
        ("margin:minimum=.nan", "finite number"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_filter(text)


def test_lists_are_written_as_lists_or_as_one_word():
    assert parse_filter("balance:over=[relation,order]")["over"] == ["relation", "order"]
    assert FILTERS["balance"](over="relation").over == ("relation",)


def test_every_filter_is_listed_with_its_defaults():
    text = describe_filters()
    assert all(f"{name}(" in text for name in FILTERS)
    assert "score(minimum=0.3, needs_boxes=True)" in text


def test_the_filter_of_the_documentation_works_and_is_listed_without_a_docstring(monkeypatch):
    assert "correct" in FILTERS  # all are loaded before the copy
    monkeypatch.setattr(FILTERS, "_entries", dict(FILTERS._entries))
    page = (Path(__file__).parents[2] / "docs" / "curation.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n([^`]*FILTERS.register[^`]*)```", page)
    exec(block, {"__name__": "docs"})
    sizes = pl.DataFrame({"width": [200, 100], "height": [100, 100]})
    wide = FILTERS["wide"](ratio=2)
    assert sizes.select(wide.keep()).to_series().to_list() == [True, False]
    assert sizes.select(wide.reason()).to_series()[1] == "only 100 x 100"
    assert "wide(ratio=2.0)" in describe_filters().splitlines()
