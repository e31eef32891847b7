"""Code and tables of the pages on Python are those of the package."""

from __future__ import annotations

import re
from importlib.util import find_spec
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


def test_the_examples_of_the_page_are_those_that_the_tests_install():
    package = ROOT / "tests" / "plugin_package"
    modules = [m for m in (package / "t2i_spatial_example").glob("*.py") if m.stem != "__init__"]
    assert sorted(m.read_text("utf-8") for m in modules) == sorted(blocks(EXTENDING))
    (points,) = re.findall(r"```toml\n(.*?)```", EXTENDING, re.DOTALL)
    assert (package / "pyproject.toml").read_text("utf-8").endswith(points)


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_of_the_page_are_those_of_the_table(table):
    (row,) = re.findall(rf"^\| {re.escape(table)} \|[^|]*\|(.*)\|$", EXTENDING, re.MULTILINE)
    row = re.sub(r"\([^)]*\)|;.*", "", row)
    assert re.findall(r"`(\w+)`", row) == list(TABLES[table])


def test_every_import_path_of_the_table_has_its_name():
    rows = re.findall(r"\| `@?(\w+)[.(][^|]*\| `([\w.]+)` \| ([^|]*)\|", EXTENDING)
    assert len(rows) == 12
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


PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = [re.sub(r"\]\([^)]*\)", "", h) for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(((?!https?:|mailto:)[^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_can_be_reached_from_the_index_and_stands_in_the_navigation():
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    protocols = (ROOT / "docs" / "protocols" / "README.md").read_text("utf-8")
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in sorted(ROOT.glob("docs/**/*.md")):
        place = page.relative_to(ROOT / "docs").as_posix()
        assert f"- {place}" in navigation, place
        assert place == "README.md" or place in index or page.name in protocols, place


def test_every_module_of_the_reference_is_there():
    listed = re.findall(
        r"^\| `(t2i_spatial[\w.]+)` \|", (ROOT / "docs/reference.md").read_text("utf-8"), re.M
    )
    assert len(listed) > 30
    assert [name for name in listed if find_spec(name) is None] == []


def test_the_glossary_is_short_and_sorted():
    words = re.findall(
        r"^\| (?!word|---)([^|]+?) \|", (ROOT / "docs/glossary.md").read_text("utf-8"), re.M
    )
    assert 40 < len(words) <= 80
    assert words == sorted(words, key=str.lower)
