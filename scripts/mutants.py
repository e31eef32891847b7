"""Breaks the code on purpose, one place at a time, and lists what no test of its room notices.

    python scripts/mutants.py [--sample 40] [--seed 0] [PATTERN ...]

The mutations are cosmic-ray's (operators, comparisons, constants, branches, loops). A sample of
places is drawn, each is mutated in a copy of the working tree, and the tests of its room run until
one fails. `PATTERN` (as in `*/paired.py`) narrows the modules. Exits with 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import ast
import collections
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cosmic_ray import mutating, plugins
from cosmic_ray.commands.init import init
from cosmic_ray.testing import run_tests
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).parent.parent
ROOMS: dict[str, str] = {
    "t2i_spatial/statistics/*.py": "tests/statistics",
    "t2i_spatial/metrics/**/*.py": "tests/metrics",
    "t2i_spatial/relation*.py": "tests/test_relation*.py tests/metrics/test_relation*.py",
}
"""Modules -> the tests that ought to notice a change in them, beside their own doctests."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=40, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws others")
    parser.add_argument("pattern", nargs="*", default=["*"], help="which modules")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        _copy(Path(scratch))
        os.chdir(scratch)
        os.environ |= {"PYTHONPATH": scratch, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        tests = {
            module: _command(modules, where)
            for modules, where in ROOMS.items()
            for module in sorted(Path().glob(modules))
            if any(fnmatch(str(module), pattern) for pattern in asked.pattern)
        }
        mutants = _draw(list(tests), asked.sample, asked.seed)
        timeout = _limit({tests[mutant.module_path] for mutant in mutants})
        survived = _run(mutants, tests, timeout)
    print(f"{len(mutants) - len(survived)} of {len(mutants)} mutants were noticed", flush=True)
    by_module = collections.Counter(str(mutant.module_path) for mutant in survived)
    for module, number in by_module.most_common():
        print(f"  {number} survived in {module}")
    return 1 if survived else 0


def _copy(scratch: Path) -> None:
    """What the tests need of the working tree."""
    junk = shutil.ignore_patterns("__pycache__", "*.tmp", ".hypothesis")
    for name in ("t2i_spatial", "tests", "docs", "scripts"):
        shutil.copytree(ROOT / name, scratch / name, ignore=junk)
    for file in (*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml")):
        shutil.copy(file, scratch)


def _command(*where: str) -> str:
    """Runs the doctests of the modules and the tests, until one fails."""
    patterns = " ".join(where).split()
    places = [str(place) for pattern in patterns for place in sorted(Path().glob(pattern))]
    return " ".join([sys.executable, "-m pytest -q -x -p no:xdist", *places])


def _draw(modules: Sequence[Path], number: int, seed: int) -> list[MutationSpec]:
    """Random places of the code, and of each one of the mutations that it can have."""
    with use_db("mutants.sqlite", WorkDB.Mode.create) as database:
        init(modules, database, {})
        specs = [mutation for item in database.work_items for mutation in item.mutations]
    places: dict[Any, list[MutationSpec]] = {}
    for spec in sorted(specs, key=lambda s: (str(s.module_path), s.operator_name, s.occurrence)):
        place = (str(spec.module_path), spec.start_pos, spec.end_pos)
        places.setdefault(place, []).append(spec)
    rng = random.Random(seed)
    order = rng.sample(sorted(places), len(places))
    drawn: list[MutationSpec] = []
    for place in order:
        if len(drawn) == number:
            break
        spec = rng.choice(places[place])
        if _changes_something(spec):
            drawn.append(spec)
    print(f"{len(drawn)} of {len(places)} places in {len(modules)} modules", flush=True)
    return drawn


def _changes_something(spec: MutationSpec) -> bool:
    """False for what no test can notice (annotations are never evaluated) and for broken syntax."""
    code = Path(spec.module_path).read_text("utf-8")
    operator = plugins.get_operator(spec.operator_name)(**(spec.operator_args or {}))
    mutated = mutating.mutate_code(code, operator, spec.occurrence)
    try:
        return mutated is not None and _bare(code) != _bare(mutated)
    except SyntaxError:
        return False


def _bare(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def _limit(commands: set[str]) -> float:
    """Seconds after which a mutant hangs; the unchanged code has to pass first."""
    longest = 0.0
    for command in sorted(commands):
        start = time.monotonic()
        outcome, output = run_tests(command, 1800)
        if outcome is not TestOutcome.SURVIVED:
            sys.exit(f"the tests fail without any mutation:\n{output[-3000:]}")
        longest = max(longest, time.monotonic() - start)
    return 60 + 4 * longest


def _run(
    mutants: Sequence[MutationSpec], tests: dict[Path, str], timeout: float
) -> list[MutationSpec]:
    survived = []
    for number, mutant in enumerate(mutants, 1):
        result = mutating.mutate_and_test([mutant], tests[mutant.module_path], timeout)
        alive = result.test_outcome is TestOutcome.SURVIVED
        line = f"{number}/{len(mutants)} {mutant.module_path}:{mutant.start_pos[0]}"
        print(f"{line} {'SURVIVED' if alive else 'noticed'}", flush=True)
        if alive:
            survived.append(mutant)
            print(result.diff, flush=True)
    return survived


if __name__ == "__main__":
    sys.exit(main())
