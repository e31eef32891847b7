from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import t2i_spatial as t2i
from t2i_spatial.bundled import Scene, SceneObject, render
from t2i_spatial.errors import InputError
from tests.rewards import drawing_detector as drawing

DETECTOR = drawing.DrawingDetector()

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


PIXELS = np.asarray(drawing.LEFT)
FLOATS = PIXELS.astype(np.float32) / 255


@pytest.mark.parametrize(
    "images",
    [
        [PIXELS],
        PIXELS[None],
        [PIXELS.transpose(2, 0, 1)],
        [FLOATS],
        [FLOATS.astype(np.float16).transpose(2, 0, 1)],
        torch.from_numpy(FLOATS.transpose(2, 0, 1).copy())[None].bfloat16(),
        (image for image in [drawing.LEFT]),
    ],
)
def test_arrays_and_tensors_of_any_order_are_pictures(images):
    verdicts = t2i.score(images, (p for p in [drawing.ASKED]), detector=DETECTOR)
    assert verdicts["protocol"].to_list() == ["visor", "spatial"]
    assert verdicts["correct"].to_list() == [True, True]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "image 1: an image must be a Pillow image, an array or a tensor, got NoneType"),
        (b"PNG", "got bytes"),
        (np.zeros(5, np.uint8), r"image 1: an image must have shape .*, got \(5,\)"),
        (np.zeros((0, 0, 3), np.uint8), "must have shape"),
        (np.zeros((9, 9), np.uint8), "must have shape"),
        (np.zeros((9, 9, 3), np.int64), "must be float in .* or uint8, got int64"),
        (np.full((9, 9, 3), np.nan), "not finite"),
        (Image.new("RGB", (0, 5)), "must have pixels, got 0x5"),
    ],
)
def test_what_is_no_picture_is_named(image, message):
    with pytest.raises(InputError, match=message):
        t2i.score([drawing.LEFT, image], [drawing.ASKED] * 2, detector=DETECTOR)


def test_records_are_prompts_and_equal_ones_are_samples_of_one():
    records = [drawing.RECORD, {"text": drawing.ASKED}, dict(drawing.RECORD)]
    verdicts = t2i.score([drawing.LEFT] * 3, records, detector=DETECTOR, protocols=["geneval"])
    assert verdicts.select("prompt_id", "sample").rows() == [("#0", 0), ("#1", 0), ("#0", 1)]
    assert verdicts["value"].to_list() == [1.0, 1.0, 1.0]


def test_a_phrase_that_the_detector_cannot_be_asked_costs_its_own_image_only():
    verdicts = t2i.score(
        [drawing.LEFT] * 2, ["a cat to the left of a unicorn", drawing.ASKED], detector=DETECTOR
    )
    assert verdicts["status"].to_list() == ["detector_failed", "scored"] * 2
    assert verdicts["reason"][0] == "'unicorn': not in its vocabulary"


@pytest.mark.parametrize(
    ("images", "prompts", "protocols", "message"),
    [
        ([drawing.LEFT], "a", ["visor"], "prompts must be a list, got str"),
        ([drawing.LEFT], drawing.RECORD, ["visor"], "prompts must be a list, got dict"),
        ("x.png", ["a cat"], ["visor"], "images must be a list, got str"),
        (drawing.LEFT, ["a cat"], ["visor"], "images must be a list, got Image"),
        ([drawing.LEFT], [None], ["visor"], "prompt 0: a text, scene or prompt record is needed"),
        ([drawing.LEFT], [{"include": []}], ["visor"], "prompt 0: a GenEval record needs"),
        ([drawing.LEFT], ["a cat"], "visor", "protocols must be a list, got str"),
        ([drawing.LEFT], ["a cat"], [], "no protocol is given; known: .*, geneval, "),
    ],
)
def test_arguments_of_another_form_are_refused(images, prompts, protocols, message):
    with pytest.raises(InputError, match=message):
        t2i.score(images, prompts, detector=DETECTOR, protocols=protocols)


def test_one_id_has_one_scene():
    scenes = [t2i.parse_prompt(f"a cat {words} a dog") for words in ("above", "below")]
    with pytest.raises(InputError, match="prompt id '0' has two scenes"):
        t2i.score(
            [drawing.LEFT] * 2, [t2i.Prompt("0", "x", scene=s) for s in scenes], detector=DETECTOR
        )


def test_importing_the_library_loads_no_torch():
    code = (
        "import sys, t2i_spatial, t2i_spatial.metrics, t2i_spatial.metrics.relations;"
        "from t2i_spatial.metrics import VISOR, GenEval;"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
