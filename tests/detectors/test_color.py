"""Colour of boxes: GenEval's recipe with CLIP, and the pixel rule; CLIP scores."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from t2i_spatial.bundled.scenes import COLOURS
from t2i_spatial.detectors.boxes import BoxesOf
from t2i_spatial.detectors.clip_model import ClipSpec
from t2i_spatial.detectors.clip_scorer import ClipScore
from t2i_spatial.detectors.color_clip import ClipColor, crop
from t2i_spatial.detectors.color_pixels import PixelColor, box_color
from t2i_spatial.detectors.masks import encode_mask
from t2i_spatial.errors import InputError, ModelLoadError
from t2i_spatial.scene import COLORS
from tests.detectors import tiny


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipSpec:
    return ClipSpec.parse(tiny.clip(tmp_path_factory.mktemp("clip")))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_classifier_is_genevals(clip: ClipSpec) -> None:
    ours = ClipColor(clip).classifier("bus")
    model = ClipColor(clip).clip.model
    tokenizer = open_clip.get_tokenizer(clip.model)
    for index, color in enumerate(COLORS):
        texts = [
            f"a photo of a {color} bus",
            f"a photo of a {color}-colored bus",
            f"a photo of a {color} object",
        ]
        with torch.no_grad():
            each = torch.nn.functional.normalize(model.encode_text(tokenizer(texts)), dim=-1)
        mean = each.mean(dim=0)
        torch.testing.assert_close(ours[index], mean / mean.norm(), atol=1e-5, rtol=0)


def test_crop_is_genevals() -> None:
    image = noise(20, 10)
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 4:9] = True
    cut = np.asarray(crop(image, np.array([3.6, 1.4, 10.5, 6.0]), mask))
    assert cut.shape == (5, 6, 3)
    whole = np.asarray(image)
    np.testing.assert_array_equal(cut[1:4, 0:5], whole[2:5, 4:9])
    assert (cut[0] == 153).all()
    assert np.asarray(crop(image, np.array([20.0, 10.0, 20.0, 10.0]))).shape == (1, 1, 3)


def test_clip_color_names_every_box_and_embeds_each_text_once(
    clip: ClipSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = ClipColor(clip)
    seen: list[int] = []
    encode = judge.clip.model.encode_text
    monkeypatch.setattr(
        judge.clip.model,
        "encode_text",
        lambda tokens, normalize: (seen.append(len(tokens)), encode(tokens, normalize=normalize))[
            1
        ],
    )
    images = [noise(30, 20), noise(30, 20, 1)]
    boxes = [
        BoxesOf(("bus", "cat"), np.array([[0, 0, 9, 9], [5, 5, 30, 20.0]]), 30, 20),
        BoxesOf(("bus",), np.array([[1, 1, 9, 9.0]]), 30, 20),
    ]
    found = judge.measure(images, boxes)
    assert [len(own) for own in found] == [2, 1]
    assert all(color in COLORS for own in found for color in own)
    # alone, so that its features do not depend on what was asked beside it
    assert seen == [1] * 50
    prepared = judge.clip.images([judge.clip.prepare(crop(images[1], boxes[1].boxes[0]))])[0]
    best = int((judge.classifier("bus") @ prepared).argmax())
    assert found[1] == [COLORS[best]]


def test_clip_score_is_the_cosine(clip: ClipSpec) -> None:
    score = ClipScore(clip)
    images, texts = [noise(30, 20), noise(9, 40, 1)], ["a cat", "a bus above a dog"]
    ours = score([score.prepare(image) for image in images], texts)
    model, preprocess = open_clip.create_model_from_pretrained(clip.model)
    with torch.no_grad():
        left = model.encode_image(torch.stack([preprocess(i) for i in images]), normalize=True)
        right = model.encode_text(open_clip.get_tokenizer(clip.model)(texts), normalize=True)
    np.testing.assert_allclose(ours, (left * right).sum(dim=-1), atol=1e-5)
    assert score([], []) == []
    with pytest.raises(InputError, match="1 images but 0 texts"):
        score([images[0]], [])


@pytest.mark.parametrize(
    "spec", ["ViT-B-32", "ViT-B-32=/no/such/file.pt", "No-Such-Model/openai", "local-dir:/nowhere"]
)
def test_clip_never_runs_on_random_weights(spec: str) -> None:
    parsed = ClipSpec.parse(spec)
    parsed = ClipSpec(parsed.model, None) if spec == "ViT-B-32" else parsed
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        ClipScore(parsed)


@pytest.mark.parametrize("word", sorted(COLOURS))
def test_pixels_name_plain_colours(word: str) -> None:
    pixels = np.full((40, 40, 3), (200, 205, 198), dtype=np.uint8)
    pixels[10:30, 10:30] = COLOURS[word]
    assert box_color(pixels, np.array([10, 10, 30, 30.0])) == word


def test_pixels_of_a_round_object_are_not_those_of_its_background() -> None:
    y, x = np.mgrid[:60, :60]
    disc = (x - 30) ** 2 + (y - 30) ** 2 < 14**2
    pixels = np.full((60, 60, 3), (245, 245, 240), dtype=np.uint8)
    pixels[disc] = (210, 30, 35)
    loose = np.array([8, 8, 52, 52.0])
    assert box_color(pixels, loose) == "red"
    assert box_color(pixels, loose, ~disc) == "white"


def test_pixel_colours_of_several_boxes_with_masks() -> None:
    pixels = np.zeros((10, 20, 3), dtype=np.uint8)
    pixels[:, :10], pixels[:, 10:] = (230, 20, 20), (20, 40, 220)
    left = np.zeros((10, 20), dtype=bool)
    left[:, :10] = True
    boxes = np.array([[0, 0, 20, 10], [0, 0, 20, 10.0]])
    own = BoxesOf(("a", "b"), boxes, 20, 10, (encode_mask(left), encode_mask(~left)))
    assert PixelColor().measure([pixels], [own]) == [["red", "blue"]]
    dot = BoxesOf(("a",), np.array([[19.5, 9.5, 20, 10.0]]), 20, 10)
    assert PixelColor().measure([pixels], [dot]) == [["blue"]]
