"""The lazy packages have types: a checker knows every export and finds wrong calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import t2i_spatial
from t2i_spatial import metrics, rewards

ROOT = Path(__file__).parent.parent
PACKAGES = (t2i_spatial, metrics, rewards)
WRONG = """
import t2i_spatial as t2i
from t2i_spatial.metrics import VISOR, relation_scores
from t2i_spatial.rewards import LocalScorer

t2i.score([], [], protocolz=["visor"])  # error: Unexpected keyword argument "protocolz"
VISOR(treshold=0.2)  # error: Unexpected keyword argument "treshold"
VISOR().update("a cat")  # error: Missing positional argument "detections"
relation_scores("visor")  # error: Missing positional arguments
LocalScorer(batch=3)  # error: Unexpected keyword argument "batch"
t2i.Detections()  # error: Missing positional arguments
t2i.scoer  # error: Module has no attribute "scoer"
"""
RIGHT = """
import numpy as np
import t2i_spatial as t2i
from t2i_spatial.metrics import VISOR

found = t2i.Detections(["cat"], [0.9], np.zeros((1, 4), np.float32), 9, 9, depths=[0.5])
prompt = t2i.Prompt("0", "a cat", scene=t2i.parse_prompt("a cat"))
VISOR(threshold=0.2).update([prompt, prompt], (d for d in (found, None)))
t2i.score(np.zeros((1, 9, 9, 3)), [{"text": "a cat"}], protocols=("visor",)).columns
"""


def checked(tmp_path, code):
    path = tmp_path / "snippet.py"
    path.write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return [line.partition(":")[2] for line in done.stdout.splitlines() if "snippet.py" in line]


def test_a_checker_knows_every_export_and_finds_wrong_calls(tmp_path):
    pytest.importorskip("mypy")
    names = [f"{p.__name__}.{n}" for p in PACKAGES for n in p.__all__ if n != "__version__"]
    imports = [f"import {package.__name__}" for package in PACKAGES]
    told = checked(tmp_path, "\n".join([*imports, *(f"reveal_type({name})" for name in names)]))
    unknown = [n for n, line in zip(names, told, strict=True) if line.endswith('type is "Any"')]
    assert unknown == []

    told = checked(tmp_path, WRONG)
    for number, line in enumerate(WRONG.splitlines(), 1):
        _, marked, expected = line.partition("# ")
        assert not marked or any(t.startswith(f"{number}: {expected}") for t in told), line
    assert checked(tmp_path, RIGHT) == []
