from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.scoring.requests import as_images, geneval_prompt


def test_every_kind_of_picture_gives_the_same_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    chw = pixels.transpose(2, 0, 1)
    kinds = [
        pixels[None],
        chw[None],
        chw[None] / 255.0,
        torch.from_numpy(chw.copy())[None],
        torch.from_numpy(chw / 255.0)[None],
        [Image.fromarray(pixels)],
        [pixels],
    ]
    for images in kinds:
        assert np.array_equal(np.asarray(as_images(images)[0]), pixels)


def test_three_rows_are_not_mistaken_for_channels():
    pixels = np.zeros((3, 9, 3), dtype=np.uint8)
    pixels[0] = 255
    assert np.array_equal(np.asarray(as_images([pixels])[0]), pixels)


def test_values_outside_the_range_are_refused_and_rounding_is_not():
    image = as_images(np.full((1, 3, 2, 2), 1.004))[0]
    assert image.getpixel((0, 0)) == (255, 255, 255)
    for value in (-0.5, 1.7, 255.0):
        with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
            as_images(np.full((1, 3, 2, 2), value))


def test_transparent_pictures_lie_on_white():
    assert as_images([Image.new("RGBA", (2, 2), (0, 0, 0, 0))])[0].getpixel((0, 0)) == (255,) * 3


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"include": "cat"},
        {"include": [5]},
        {"include": [{"class": 5}]},
        {"include": [{"class": "cat", "count": -1}]},
        {"include": [{"class": "cat", "count": "many"}]},
        {"include": [{"class": "cat", "count": 2**64}]},
        {"include": [{"class": "cat"}], "exclude": [{"class": "dog", "count": 2**64}]},
        {"include": [{"class": "cat", "color": 3}]},
        {"include": [{"class": "cat", "position": ["left of", 3]}]},
        {"include": [{"class": "cat", "position": "left"}]},
        {"include": [{"class": "cat", "position": ["beyond", 0]}]},
        {"include": [{"class": "cat"}], "tag": 5},
        {"include": [{"class": "cat"}], "prompt": 5},
        {"include": [{"class": ""}]},
    ],
)
def test_a_broken_record_is_refused(record):
    with pytest.raises(InputError):
        geneval_prompt(record)


def test_positions_may_have_become_tuples():
    clause = {"class": "cat", "count": 1, "position": ("left of", 0)}
    prompt = geneval_prompt({"include": [{"class": "dog", "count": 1}, clause]})
    assert prompt.scene.relations[0].relation == "left of"
