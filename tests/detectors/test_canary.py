"""The canary sings on the bundled detector and stops for each way a detector can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image, ImageOps

from t2i_spatial.detections import Detections
from t2i_spatial.detectors import DetectorSpec, load_detector
from t2i_spatial.detectors.base import Detector
from t2i_spatial.detectors.canary import drawings, run_canary


@pytest.fixture(scope="module")
def bundled() -> Detector:
    return load_detector("bundled", device="cpu")


class Sabotaged:
    """A detector seen through a fault."""

    def __init__(
        self,
        detector: Detector,
        image: Callable[[Image.Image], Image.Image] = lambda image: image,
        boxes: Callable[[Detections], Detections] = lambda found: found,
    ) -> None:
        self.detector, self.image, self.boxes = detector, image, boxes
        self.spec: DetectorSpec = detector.spec

    def __call__(
        self, images: Sequence[Image.Image], names: Sequence[Sequence[str]]
    ) -> list[Detections]:
        found = self.detector([self.image(image) for image in images], names)
        return [self.boxes(one) for one in found]


def padded_frame(found: Detections) -> Detections:
    """Boxes of a square frame read as if it had been stretched (and the other way round)."""
    scale = np.array([found.width, found.height] * 2) / max(found.width, found.height)
    return Detections(found.labels, found.scores, found.boxes * scale, found.width, found.height)


def test_drawings_hold_what_they_say() -> None:
    made = {drawing.name: drawing for drawing in drawings(96)}
    assert {name: d.image.size for name, d in made.items()} == {
        "square": (96, 96),
        "wide": (144, 96),
        "tall": (96, 144),
        "exif-rotated": (96, 144),
    }
    for drawing in made.values():
        pixels = np.asarray(drawing.image).astype(int)
        background = pixels[0, 0]
        for x1, y1, x2, y2 in drawing.boxes.astype(int):
            assert 0 <= x1 < x2 <= drawing.image.width
            assert 0 <= y1 < y2 <= drawing.image.height
            inside = pixels[y1:y2, x1:x2]
            assert (np.abs(inside - background).sum(axis=2) > 60).mean() > 0.3
        (first, second), axis = drawing.boxes, drawing.relation in ("above", "below")
        before = first[int(axis)] < second[int(axis)]
        assert before == (drawing.relation in ("left", "above"))


def test_bundled_detector_reads_every_drawing(bundled: Detector) -> None:
    result = run_canary(bundled)
    assert result.passed, result
    assert {case.drawing: case.colors for case in result.cases}["square"] is True
    assert min(case.iou for case in result.cases) > 0.5


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        ({"boxes": padded_frame}, {"wide", "tall", "exif-rotated"}),
        ({"image": ImageOps.mirror}, {"wide"}),
        ({"image": ImageOps.flip}, {"tall", "exif-rotated"}),
        ({"image": lambda image: Image.new("RGB", image.size)}, {"square", "wide", "tall"}),
    ],
)
def test_faults_are_caught(bundled: Detector, fault: dict[str, object], caught: set[str]) -> None:
    result = run_canary(Sabotaged(bundled, **fault))  # type: ignore[arg-type]
    failed = {case.drawing for case in result.cases if not case.passed}
    assert caught <= failed
    assert not result.passed
    assert result.to_dict()["passed"] is False


def test_swapped_channels_are_caught(bundled: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    from t2i_spatial.detectors import canary

    read = canary.read_image
    monkeypatch.setattr(
        canary, "read_image", lambda path: Image.merge("RGB", read(path).split()[::-1])
    )
    result = run_canary(bundled)
    assert {case.drawing: case.colors for case in result.cases}["square"] is False
    assert not result.passed
