"""Mask2Former: the decision of mmdet's instance head, boxes from masks, a closed vocabulary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from t2i_spatial.detectors import load_detector
from t2i_spatial.detectors.mask2former import RawMasks
from t2i_spatial.detectors.masks import MaskedDetections, decode_mask, encode_mask
from t2i_spatial.errors import InputError
from tests.detectors import tiny

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.mask2former(tmp_path_factory.mktemp("mask2former"))


@given(shapes.flatmap(lambda shape: arrays(bool, shape)))
def test_masks_survive_encoding(mask: np.ndarray) -> None:
    height, width = mask.shape
    counts = encode_mask(mask)
    assert sum(counts) == mask.size
    np.testing.assert_array_equal(decode_mask(counts, width, height), mask)


def test_counts_are_those_of_coco() -> None:
    from pycocotools import mask as coco

    rng = np.random.default_rng(0)
    mask = rng.random((13, 7)) > 0.6
    counts = {"size": [13, 7], "counts": list(encode_mask(mask))}
    np.testing.assert_array_equal(coco.decode(coco.frPyObjects(counts, 13, 7)), mask)
    with pytest.raises(InputError, match="does not fit"):
        decode_mask(encode_mask(mask), 8, 13)


@pytest.mark.parametrize("size", [(64, 64), (120, 60), (50, 100)])
def test_decision_is_that_of_the_instance_head(folder: Path, size: tuple[int, int]) -> None:
    width, height = size
    detector = load_detector(str(folder), threshold=0.3, device="cpu")
    classes = torch.zeros(1, 3, 5)
    classes[0, 0, 1], classes[0, 0, 3], classes[0, 1, 2], classes[0, 2, 1] = 0.9, 0.8, 0.6, 0.2
    masks = torch.full((1, 3, height, width), -4.0)
    masks[0, 0, 10:20, 5:25] = 4.0
    masks[0, 1, :, 40:] = 0.5
    names = [("computer mouse", "cat", "dog")]
    (found,) = detector.collect(RawMasks(classes, masks, [size], names))
    inside = float(torch.sigmoid(torch.tensor(4.0)))
    assert found.labels == ("cat", "computer mouse", "dog")
    weak = 0.6 * float(torch.sigmoid(torch.tensor(0.5)))
    np.testing.assert_allclose(found.scores, [0.9 * inside, 0.8 * inside, weak], atol=1e-4)
    assert found.boxes.tolist() == [[5, 10, 25, 20], [5, 10, 25, 20], [40, 0, width, height]]
    assert isinstance(found, MaskedDetections)
    mask = decode_mask(found.masks[0], width, height)
    assert mask.sum() == 200
    assert mask[10:20, 5:25].all()


def test_only_asked_classes_come_back(folder: Path) -> None:
    detector = load_detector(str(folder), threshold=0.0, device="cpu")
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8))
    found, nothing = detector([image, image], [("cat", "tv"), ()])
    assert set(found.labels) <= {"cat", "tv"}
    assert len(found) > 0
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert len(nothing) == 0
    with pytest.raises(InputError, match=r"'zebra'.*5 classes"):
        detector([image], [("zebra",)])


def test_alone_or_in_a_batch(folder: Path) -> None:
    detector = load_detector(str(folder), threshold=0.0, device="cpu")
    rng = np.random.default_rng(1)
    images = [Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)) for _ in range(3)]
    together = detector(images, [("cat",)] * 3)
    for image, found in zip(images, together, strict=True):
        (alone,) = detector([image], [("cat",)])
        np.testing.assert_allclose(alone.scores, found.scores, atol=1e-5)
        np.testing.assert_allclose(alone.boxes, found.boxes, atol=1.01)


def test_nms(folder: Path) -> None:
    detector = load_detector(str(folder), threshold=0.1, nms=0.5, device="cpu")
    classes = torch.zeros(1, 2, 5)
    classes[0, :, 1] = torch.tensor([0.9, 0.8])
    masks = torch.full((1, 2, 20, 20), -4.0)
    masks[0, 0, 2:12, 2:12] = 4.0
    masks[0, 1, 2:12, 2:13] = 4.0
    (found,) = detector.collect(RawMasks(classes, masks, [(20, 20)], [("cat",)]))
    assert found.boxes.tolist() == [[2, 2, 12, 12]]
