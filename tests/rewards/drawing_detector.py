"""A detector for drawings: a filled red rectangle is a cat, a blue one a dog, a green one a cup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from t2i_spatial.detections import Detections
from t2i_spatial.detectors.base import Detector, DetectorSpec

COLORS = {"cat": (255, 0, 0), "dog": (0, 0, 255), "cup": (0, 255, 0)}
Placed = tuple[str, tuple[int, int, int, int]]


class DrawingDetector(Detector):
    default_threshold = 0.0

    def __init__(self, repeat: int = 1) -> None:
        super().__init__(DetectorSpec("drawing", "drawing", "drawing", 0.0), "cpu")
        self.repeat = repeat

    def refuse(self, name: str) -> str | None:
        return "not in its vocabulary" if name == "unicorn" else super().refuse(name)

    def prepare(self, image: Image.Image) -> Any:
        return np.asarray(image)

    def forward(self, prepared: Sequence[Any], sizes: Any, names: Sequence[Sequence[str]]) -> Any:
        return list(zip(prepared, sizes, names, strict=True))

    def collect(self, raw: Any) -> list[Detections]:
        return [self._find(*entry) for entry in raw]

    def _find(self, pixels: Any, size: tuple[int, int], names: Sequence[str]) -> Detections:
        labels, boxes = [], []
        for name in names:
            rows, columns = np.nonzero((pixels == COLORS.get(name, (1, 2, 3))).all(axis=2))
            if len(rows):
                box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                labels += [name] * self.repeat
                boxes += [box] * self.repeat
        scores = np.full(len(labels), 0.95)
        return Detections(tuple(labels), scores, np.array(boxes, float).reshape(-1, 4), *size)


def drawing(*objects: Placed, size: int = 100) -> Image.Image:
    image = Image.new("RGB", (size, size), "white")
    for name, (x1, y1, x2, y2) in objects:
        ImageDraw.Draw(image).rectangle((x1, y1, x2 - 1, y2 - 1), fill=COLORS[name])
    return image


LEFT = drawing(("cat", (5, 40, 35, 70)), ("dog", (60, 40, 90, 70)))
RIGHT = drawing(("dog", (5, 40, 35, 70)), ("cat", (60, 40, 90, 70)))
ONLY_CAT = drawing(("cat", (5, 40, 35, 70)))
ASKED = "a cat to the left of a dog"
RECORD = {
    "tag": "position",
    "include": [
        {"class": "dog", "count": 1},
        {"class": "cat", "count": 1, "position": ["left of", 0]},
    ],
    "prompt": "a photo of a cat left of a dog",
}
