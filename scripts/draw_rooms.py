"""Draws docs/images/rooms.svg, the picture of the rooms in ARCHITECTURE.md, from the imports.

    python scripts/draw_rooms.py          writes the picture
    python scripts/draw_rooms.py --table  prints what is counted

A room is a folder of the package; the modules that lie in none are the `foundation`. `ORDER` is the
one place that says which room may import which: those of lower rows. tests/test_architecture.py
holds the code to it, and the picture to the code.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
FOUNDATION = "foundation"
ORDER: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("view",),
    ("rewards", "stages"),
    ("scoring", "engines", "report", "training"),
    ("judges", "curation", "generation"),
    ("detectors",),
    ("interchange", "bundled", "labels"),
    ("metrics",),
    ("prompts", "statistics"),
    (FOUNDATION,),
)
"""Rows from the roof down. Rooms of one row do not import each other."""

FACE = ("t2i_spatial", "t2i_spatial.__main__")
"""The package's face, which hands out names of every room and which no room imports."""


class Import(NamedTuple):
    """One import of a module of the package by another."""

    module: str
    target: str
    file: Path
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.code}"


def find_modules(root: Path, package: str = "t2i_spatial") -> dict[str, Path]:
    """Dotted name -> file of every module of a package."""
    found = {}
    for file in sorted((root / package).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def find_imports(root: Path, modules: Mapping[str, Path]) -> list[Import]:
    """Every import between `modules`, those inside functions and for type checkers too.

    `from a.b import c` imports the module `a.b.c` if there is one, otherwise `a.b`.
    """
    found = []
    for module, file in modules.items():
        text = file.read_text("utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            for target in _targets(node, modules):
                code = lines[node.lineno - 1].strip()
                found.append(Import(module, target, file.relative_to(root), node.lineno, code))
    return found


def _targets(node: ast.AST, modules: Mapping[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from dict.fromkeys(a.name for a in node.names if a.name in modules)
    elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
        whole = (f"{node.module}.{alias.name}" for alias in node.names)
        names = (name if name in modules else node.module for name in whole)
        yield from dict.fromkeys(name for name in names if name in modules)


def room_of(module: str, modules: Mapping[str, Path]) -> str:
    """The folder that a module lies in, or `foundation`."""
    parts = module.split(".")
    if len(parts) > 1 and modules[".".join(parts[:2])].name == "__init__.py":
        return parts[1]
    return FOUNDATION


def room_arrows(
    imports: Iterable[Import], modules: Mapping[str, Path]
) -> dict[tuple[str, str], list[Import]]:
    """(room, room it imports) -> the imports; the face of the package aside."""
    arrows: dict[tuple[str, str], list[Import]] = {}
    for one in imports:
        pair = (room_of(one.module, modules), room_of(one.target, modules))
        if one.module not in FACE and pair[0] != pair[1]:
            arrows.setdefault(pair, []).append(one)
    return arrows


def find_cycle(imports: Iterable[Import]) -> list[Import]:
    """The imports along a shortest ring of modules; empty when there is none."""
    ways: dict[str, dict[str, Import]] = {}
    for one in imports:
        ways.setdefault(one.module, {}).setdefault(one.target, one)
    best: list[Import] = []
    for start in ways:
        paths: dict[str, list[Import]] = {start: []}
        queue = [start]
        while queue and start not in (path[-1].target for path in paths.values() if path):
            module = queue.pop(0)
            for target, one in ways.get(module, {}).items():
                if target == start:
                    ring = [*paths[module], one]
                    best = ring if not best or len(ring) < len(best) else best
                elif target not in paths:
                    paths[target] = [*paths[module], one]
                    queue.append(target)
    return best


def reduced(arrows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The arrows that no longer way over other rooms replaces; those to the foundation aside."""
    direct: dict[str, set[str]] = {}
    for room, other in arrows:
        if other != FOUNDATION:
            direct.setdefault(room, set()).add(other)

    def reach(room: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(direct.get(room, ()))
        while waiting:
            if (other := waiting.pop()) not in seen:
                seen.add(other)
                waiting += direct.get(other, ())
        return seen

    return sorted(
        (room, other)
        for room, others in direct.items()
        for other in others
        if not any(other in reach(between) for between in others - {other})
    )


WIDTH, ROW, BOX, HIGH = 880, 92, 168, 40


def draw(arrows: Iterable[tuple[str, str]]) -> str:
    """The rooms as SVG: rows of `ORDER`, and an arrow for every import that no other implies."""
    places: dict[str, tuple[float, float, float]] = {}
    for y, row in enumerate(ORDER):
        wide = WIDTH - 40.0 if row == (FOUNDATION,) else BOX
        for x, room in enumerate(row):
            places[room] = (WIDTH * (x + 1) / (len(row) + 1) - wide / 2, 16.0 + y * ROW, wide)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{len(ORDER) * ROW}" '
        f'viewBox="0 0 {WIDTH} {len(ORDER) * ROW}" font-family="sans-serif">',
        "<title>The rooms of t2i_spatial; arrows are imports that no other arrows imply</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#4e79a7"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for room, other in reduced(arrows):
        (x1, y1, wide1), (x2, y2, wide2) = places[room], places[other]
        start, end = x1 + wide1 / 2, x2 + wide2 / 2
        top, bottom = y1 + HIGH, y2 - 2
        bend = (bottom - top) / 2
        out.append(
            f'<path d="M{start:.0f} {top:.0f}C{start:.0f} {top + bend:.0f} '
            f'{end:.0f} {bottom - bend:.0f} {end:.0f} {bottom:.0f}" fill="none" '
            'stroke="#4e79a7" stroke-width="1.5" marker-end="url(#tip)"/>'
        )
    for room, (x, y, wide) in places.items():
        out.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{HIGH}" rx="6" '
            'fill="#eef3f8" stroke="#4e79a7"/>'
            f'<text x="{x + wide / 2:.0f}" y="{y + 25:.0f}" text-anchor="middle" font-size="15" '
            f'fill="#222222">{room}{"" if room == FOUNDATION else "/"}</text>'
        )
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    modules = find_modules(ROOT)
    imports = find_imports(ROOT, modules)
    arrows = room_arrows(imports, modules)
    if "--table" in sys.argv[1:]:
        for (room, other), through in sorted(arrows.items()):
            print(f"{room:>12} -> {other:<12} {len(through)}")
        between = sum(map(len, arrows.values()))
        print(f"{len(modules)} modules, {len(arrows)} arrows, {between} imports between rooms")
        return
    PICTURE.write_text(draw(arrows), "utf-8")


if __name__ == "__main__":
    main()
