from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import t2i_spatial as t2i
from t2i_spatial.bundled import Scene, SceneObject, render
from t2i_spatial.errors import InputError

RIGHT = Scene((SceneObject("cat", 0.25, 0.5, 0.4), SceneObject("dog", 0.75, 0.5, 0.4)))
WRONG = Scene((SceneObject("dog", 0.25, 0.5, 0.4), SceneObject("cat", 0.75, 0.5, 0.4)))


def test_images_in_memory_are_judged_in_order():
    images = [render(RIGHT)[0], render(WRONG)[0], np.full((64, 64, 3), 255, np.uint8)]
    table = t2i.score(images, ["a cat to the left of a dog"] * 3, protocols=["visor", "spatial"])
    assert table["protocol"].to_list() == ["visor"] * 3 + ["spatial"] * 3
    assert table["correct"].to_list() == [True, False, False] * 2
    assert table["sample"].to_list() == [0, 1, 2] * 2
    assert table["reason"][2] == "neither cat nor dog found"


def test_what_cannot_be_judged_says_so():
    with pytest.raises(InputError, match="1 images for 2 prompts"):
        t2i.score([render(RIGHT)[0]], ["a", "b"])
    with pytest.raises(InputError, match="did you mean 'visor'"):
        t2i.score([], [], protocols=["viso"])
    with pytest.raises(InputError, match="two texts"):
        t2i.score([render(RIGHT)[0]] * 2, [t2i.Prompt("0", "a cat"), t2i.Prompt("0", "a dog")])


def test_importing_the_library_loads_no_torch():
    code = (
        "import sys, t2i_spatial, t2i_spatial.metrics, t2i_spatial.metrics.relations;"
        "from t2i_spatial.metrics import VISOR, GenEval;"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
