"""The protocol pages say what the code does and name tests that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from t2i_spatial.metrics import PROTOCOLS

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "protocols"


def load_script():
    spec = importlib.util.spec_from_file_location(
        "draw_disagreements", ROOT / "scripts" / "draw_disagreements.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_table_of_disagreements_is_what_the_code_says():
    script = load_script()
    assert (PAGES / "disagreement.md").read_text() == script.page()
    for layout in script.LAYOUTS:
        assert (PAGES / "layouts" / f"{layout.slug}.svg").read_text() == script.svg(layout)


@pytest.mark.parametrize("page", sorted(p.name for p in PAGES.glob("*.md")))
def test_every_test_that_a_page_names_exists(page):
    files = {p.stem: p.read_text() for p in (ROOT / "tests" / "metrics").rglob("test_*.py")}
    tests = "".join(files.values())
    for name in re.findall(r"\btest_\w+", (PAGES / page).read_text()):
        assert f"def {name}(" in tests or name in files, name


def test_every_protocol_has_a_page():
    text = "".join(p.read_text() for p in PAGES.glob("*.md"))
    assert [name for name in PROTOCOLS if f"`{name}`" not in text] == []
