"""Code and tables of the pages on Python are those of the package."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from t2i_spatial.curation.candidates import COLUMNS
from t2i_spatial.metrics import VISOR
from t2i_spatial.metrics.relations import _RULES
from t2i_spatial.tables import DETECTIONS, PROMPTS, VERDICTS, prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

ROOT = Path(__file__).parent.parent
EXTENDING = (ROOT / "docs" / "extending.md").read_text("utf-8")
PROTOCOLS_PAGE = (ROOT / "docs" / "protocols" / "README.md").read_text("utf-8")
TABLES = {
    "`PROMPTS`": PROMPTS,
    "`objects`": [field.name for field in PROMPTS["objects"].inner.fields],
    "`relations`": [field.name for field in PROMPTS["relations"].inner.fields],
    "`DETECTIONS`": DETECTIONS,
    "`detections`": [field.name for field in DETECTIONS["detections"].inner.fields],
    "`VERDICTS`": VERDICTS,
    "`evidence`": [field.name for field in VERDICTS["evidence"].inner.fields],
    "`components`": [field.name for field in VERDICTS["components"].inner.fields],
    "candidates of a run": COLUMNS,
}


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_protocol_of_the_page_is_the_one_that_the_tests_install():
    file = ROOT / "tests" / "plugin_package" / "t2i_spatial_presence" / "presence.py"
    assert file.read_text("utf-8") in blocks(EXTENDING)


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_of_the_page_are_those_of_the_table(table):
    (row,) = re.findall(rf"^\| {re.escape(table)} \|[^|]*\|(.*)\|$", EXTENDING, re.MULTILINE)
    row = re.sub(r"\([^)]*\)|;.*", "", row)
    assert re.findall(r"`(\w+)`", row) == list(TABLES[table])


def test_every_import_path_of_the_table_has_its_name():
    rows = re.findall(r"\| `@?(\w+)[.(][^|]*\| `([\w.]+)` \| ([^|]*)\|", EXTENDING)
    assert len(rows) == 6
    for name, path, bases in rows:
        module = __import__(path, fromlist=[name])
        names = [name, *re.findall(r"`([A-Z]\w+)`", bases)]
        assert [n for n in names if not hasattr(module, n)] == []


def test_the_python_of_the_protocols_page_runs(monkeypatch):
    monkeypatch.setitem(_RULES, "spatial", dict(_RULES.get("spatial", {})))
    right = detections(box("cat", 0, 0, 10, 10), box("dog", 50, 0, 60, 10))
    images = detection_rows({("0", 0): right, ("0", 1): detections()})
    names = {
        "prompts": prompts_to_table([relation_prompt("cat", "left of", "dog")]),
        "detections": images,
        "parts": [images[:1], images[1:]],
        "subject_boxes": np.array([[0, 0, 1, 1]]),
        "object_boxes": np.array([[5, 0, 6, 1]]),
    }
    found = blocks(PROTOCOLS_PAGE)
    assert len(found) == 4
    for block in found:
        exec(block, names)
    merged = VISOR().summarize(names["pl"].concat(names["verdicts"]), names["prompts"])
    whole = VISOR()
    whole.update(names["prompts"], images)
    assert merged == whole.compute()
