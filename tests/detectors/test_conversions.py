"""Round trips through other libraries' forms of a detection."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from t2i_spatial.detections import Detections
from t2i_spatial.detectors.conversions import (
    from_coco_results,
    from_supervision,
    from_torchvision,
    to_coco_results,
    to_supervision,
    to_torchvision,
)
from t2i_spatial.errors import InputError
from tests.builders import box, detections

FOUND = detections(box("dog", 10, 20, 30, 45, 0.75), box("cat", 1, 2, 3, 4, 0.5), size=(64, 48))
EMPTY = detections(size=(64, 48))


def same(left: Detections, right: Detections) -> None:
    assert left.labels == right.labels
    np.testing.assert_allclose(left.scores, right.scores)
    np.testing.assert_allclose(left.boxes, right.boxes)
    assert (left.width, left.height) == (right.width, right.height)


def test_supervision_there_and_back() -> None:
    there = to_supervision(FOUND, ["cat", "dog"])
    assert there.class_id.tolist() == [1, 0]
    assert there.xyxy.tolist() == FOUND.boxes.tolist()
    same(from_supervision(there, 64, 48, ["cat", "dog"]), FOUND)
    same(from_supervision(to_supervision(FOUND), 64, 48, ["cat", "dog"]), FOUND)
    assert len(from_supervision(to_supervision(EMPTY), 64, 48)) == 0


def test_supervision_names_of_newer_versions_win() -> None:
    newer = SimpleNamespace(
        xyxy=FOUND.boxes,
        confidence=FOUND.scores,
        class_id=np.array([5, 6]),
        data={"class_name": np.array(["dog", "cat"])},
    )
    same(from_supervision(newer, 64, 48), FOUND)
    newer.data = {}
    with pytest.raises(InputError, match="no class names"):
        from_supervision(newer, 64, 48)
    newer.confidence = None
    with pytest.raises(InputError, match="no confidence"):
        from_supervision(newer, 64, 48, classes=list("abcdefg"))


def test_coco_there_and_back() -> None:
    there = to_coco_results(FOUND, 3, {"cat": 17, "dog": 18})
    assert there[0] == {
        "image_id": 3,
        "category_id": 18,
        "bbox": [10.0, 20.0, 20.0, 25.0],
        "score": 0.75,
    }
    same(from_coco_results(there, {17: "cat", 18: "dog"}, 64, 48), FOUND)
    assert len(from_coco_results([], {}, 64, 48)) == 0
    with pytest.raises(InputError, match="'dog'"):
        to_coco_results(FOUND, 3, {"cat": 17})
    with pytest.raises(InputError, match="category id 18"):
        from_coco_results(there, {17: "cat"}, 64, 48)
    there[0]["image_id"] = 4
    with pytest.raises(InputError, match="several images"):
        from_coco_results(there, {17: "cat", 18: "dog"}, 64, 48)


def test_torchvision_there_and_back() -> None:
    there = to_torchvision(FOUND, ["cat", "dog"])
    assert there["labels"].dtype == torch.int64
    assert there["boxes"].shape == (2, 4)
    same(from_torchvision(there, ["cat", "dog"], 64, 48), FOUND)
    assert to_torchvision(EMPTY, [])["boxes"].shape == (0, 4)
    same(from_torchvision(to_torchvision(EMPTY, []), [], 64, 48), EMPTY)
    with pytest.raises(InputError, match="not among"):
        to_torchvision(FOUND, ["cat"])
    with pytest.raises(InputError, match="lacks"):
        from_torchvision({"boxes": []}, [], 64, 48)
    with pytest.raises(InputError, match="class index 1"):
        from_torchvision(there, ["cat"], 64, 48)


def test_wrong_frames_are_refused() -> None:
    there = to_torchvision(FOUND, ["cat", "dog"])
    with pytest.raises(InputError, match="outside the 20x20 image"):
        from_torchvision(there, ["cat", "dog"], 20, 20)
