"""A package of its own adds a protocol: installed for real, found through its entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "plugin_package"
PROMPT = {
    "id": "0",
    "text": "a cat and a dog",
    "scene": {"objects": [{"name": "cat"}, {"name": "dog"}]},
}
IMAGE = {
    "prompt_id": "0",
    "sample": 0,
    "image": "0_0.png",
    "width": 64,
    "height": 64,
    "detections": [{"label": "cat", "score": 0.9, "box": [1, 2, 30, 40]}],
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--target", target, PACKAGE],
        check=True,
        timeout=120,
    )  # fmt: skip
    return target


def test_an_out_of_tree_protocol_scores_through_the_command(installed, tmp_path):
    (tmp_path / "prompts.jsonl").write_text(json.dumps(PROMPT))
    (tmp_path / "boxes.jsonl").write_text(json.dumps(IMAGE))
    done = subprocess.run(
        [sys.executable, "-m", "t2i_spatial.cli.main", "score", "--detections", "boxes.jsonl",
         "--prompts", "prompts.jsonl", "--protocol", "presence", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["presence"]["presence"]["value"] == 0.5
