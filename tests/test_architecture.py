"""The house is as ARCHITECTURE.md says: imports point downwards and the picture is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts import load_script

ROOT = Path(__file__).parent.parent
rooms = load_script("draw_rooms")
MODULES = rooms.find_modules(ROOT)
IMPORTS = rooms.find_imports(ROOT, MODULES)
ARROWS = rooms.room_arrows(IMPORTS, MODULES)
LEVEL = {room: level for level, row in enumerate(rooms.ORDER) for room in row}
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


def test_every_room_has_its_place_and_its_paragraph():
    found = {rooms.room_of(module, MODULES) for module in MODULES}
    assert found == set(LEVEL), "add the room to ORDER in scripts/draw_rooms.py"
    assert len(LEVEL) == sum(map(len, rooms.ORDER)), "a room stands in two rows of ORDER"
    told = re.findall(r"^\*\*`?(\w+)/?`?\*\*", PAGE, re.MULTILINE)
    assert sorted(told) == sorted(LEVEL), "one paragraph a room in ARCHITECTURE.md"


def test_no_arrow_points_upwards_or_aside():
    wrong = [
        f"{one}  ({room} may not import {other})"
        for (room, other), through in ARROWS.items()
        if LEVEL[other] <= LEVEL[room]
        for one in through
    ]
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_ring():
    ring = rooms.find_cycle(IMPORTS)
    assert not ring, "a ring of imports:\n" + "\n".join(map(str, ring))


def test_no_room_imports_the_face_of_the_package():
    wrong = [str(one) for one in IMPORTS if one.target in rooms.FACE]
    assert not wrong, "import from the room itself:\n" + "\n".join(wrong)


def test_the_picture_is_drawn_from_the_code():
    assert rooms.PICTURE.read_text("utf-8") == rooms.draw(ARROWS), "run scripts/draw_rooms.py"


@pytest.mark.parametrize(
    "module", ["", ".metrics", ".prompts", ".curation.selection", ".statistics.paired", ".cli.main"]
)
def test_what_needs_no_model_loads_no_torch(module):
    """The import, and the registries that import every module of their rooms."""
    code = (
        f"import sys, t2i_spatial{module}\n"
        "from t2i_spatial.registry import Registry\n"
        f"for name, m in list(sys.modules.items()):\n"
        f"    if name.startswith('t2i_spatial{module}'):\n"
        "        [list(v) for v in list(vars(m).values()) if isinstance(v, Registry)]\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'peft'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def small(tmp_path):
    """A package of three modules, to be filled with imports."""

    def make(**texts):
        for name, text in texts.items():
            file = tmp_path / "t2i_spatial" / f"{name.replace('_in_', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / "__init__.py").touch()
            file.write_text(text)
        modules = rooms.find_modules(tmp_path)
        return modules, rooms.find_imports(tmp_path, modules)

    return make


def test_imports_are_found_wherever_they_stand(small):
    later = "def f():\n    from t2i_spatial.metrics import b\n"
    checked = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import t2i_spatial.metrics.b\n"
    )
    modules, imports = small(cli_in_a=later, cli_in_c=checked, metrics_in_b="import json\n")
    assert [(i.module, i.target, i.line) for i in imports] == [
        ("t2i_spatial.cli.a", "t2i_spatial.metrics.b", 2),
        ("t2i_spatial.cli.c", "t2i_spatial.metrics.b", 3),
    ]
    assert list(rooms.room_arrows(imports, modules)) == [("cli", "metrics")]
    assert str(imports[0]) == "t2i_spatial/cli/a.py:2: from t2i_spatial.metrics import b"


def test_a_ring_is_found_with_its_lines(small):
    _, imports = small(
        a="from t2i_spatial.b import x\n",
        b="\ndef f():\n    import t2i_spatial.c\n",
        c="from t2i_spatial.a import y\n",
        d="from t2i_spatial.a import y\n",
    )
    ring = rooms.find_cycle(imports)
    assert {(one.file.name, one.line) for one in ring} == {("a.py", 1), ("b.py", 3), ("c.py", 1)}
    assert rooms.find_cycle([one for one in imports if one.file.name != "c.py"]) == []


def test_the_picture_leaves_out_what_other_arrows_imply():
    arrows = [("cli", "stages"), ("stages", "metrics"), ("cli", "metrics"), ("cli", "foundation")]
    assert rooms.reduced(arrows) == [("cli", "stages"), ("stages", "metrics")]


def test_no_test_module_is_imported_by_another():
    imports = re.compile(r"^\s*(?:from|import) tests\S*\.test_.*", re.MULTILINE)
    found = {
        file.relative_to(ROOT): imports.findall(file.read_text("utf-8"))
        for file in (ROOT / "tests").rglob("*.py")
    }
    assert not {file: lines for file, lines in found.items() if lines}, "helpers have a module"
