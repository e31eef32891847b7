"""Colour of a box from its pixels: clusters in CIELAB, no model. Not GenEval's rule.

The pixels of the mask (or of the inner part of the box) are clustered in Lab; the largest cluster
that is not the box's surroundings is named by its nearest prototype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2i_spatial.detectors.boxes import BoxesOf

PROTOTYPES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((220, 20, 30), (150, 20, 25), (235, 70, 60)),
    "orange": ((255, 140, 0), (240, 110, 30)),
    "yellow": ((250, 225, 40), (220, 190, 30), (255, 245, 130)),
    "green": ((40, 160, 60), (20, 90, 40), (120, 200, 90), (110, 130, 50)),
    "blue": ((30, 80, 220), (20, 30, 120), (80, 160, 235), (120, 190, 240)),
    "purple": ((130, 50, 170), (80, 30, 110), (170, 110, 210)),
    "pink": ((250, 130, 185), (255, 180, 200), (230, 60, 140)),
    "brown": ((120, 70, 35), (90, 55, 30), (160, 110, 70)),
    "black": ((25, 25, 28), (50, 50, 54)),
    "white": ((250, 250, 250), (228, 228, 226)),
    "gray": ((150, 150, 150), (105, 105, 108), (190, 190, 190)),
}
"""sRGB examples of each word: dark, middle and light ones, because the words are not points."""

INNER = 0.7
CLUSTERS = 4
MOST_PIXELS = 4096
SURROUNDINGS = 12.0
"""A cluster this close (Lab distance) to the ring around the box counts as background."""


class PixelColor:
    """Names the colour of every box from its pixels."""

    device = "cpu"

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """(height, width, 3) uint8."""
        return np.asarray(image)

    def measure(
        self, prepared: Sequence[NDArray[np.uint8]], boxes: Sequence[BoxesOf]
    ) -> list[list[str | None]]:
        """Colour word of every box of n images."""
        return [
            [box_color(pixels, own.boxes[k], own.mask(k)) for k in range(len(own))]
            for pixels, own in zip(prepared, boxes, strict=True)
        ]


def box_color(
    pixels: NDArray[np.uint8], box: NDArray[Any], mask: NDArray[np.bool_] | None = None
) -> str:
    """Colour word of one `xyxy` box of an RGB image.

    >>> box_color(np.full((9, 9, 3), (230, 30, 30), np.uint8), np.array([0, 0, 9, 9.0]))
    'red'
    """
    from skimage.color import rgb2lab

    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in box)
    if mask is not None and mask.any():
        inside = pixels[mask]
        ring = None
    else:
        dx, dy = (x2 - x1) * (1 - INNER) / 2, (y2 - y1) * (1 - INNER) / 2
        inside = _cut(pixels, x1 + dx, y1 + dy, x2 - dx, y2 - dy).reshape(-1, 3)
        ring = _ring(pixels, x1, y1, x2, y2) if (x2 - x1) * (y2 - y1) < width * height else None
    step = max(1, len(inside) // MOST_PIXELS)
    lab = rgb2lab(inside[::step][None] / 255.0)[0]
    centres, sizes = _clusters(lab)
    if ring is not None and len(ring):
        around = np.median(rgb2lab(ring[None] / 255.0)[0], axis=0)
        background = np.linalg.norm(centres - around, axis=1) < SURROUNDINGS
        if not background.all():
            sizes = np.where(background, 0, sizes)
    best = int(np.argmax(sizes))
    words = [word for word, examples in PROTOTYPES.items() for _ in examples]
    points = rgb2lab(np.array([e for es in PROTOTYPES.values() for e in es])[None] / 255.0)[0]
    # lightness varies with shading; hue and chroma name a colour
    distance = ((points - centres[best]) * (0.5, 1.0, 1.0)) ** 2
    return words[int(np.argmin(distance.sum(axis=1)))]


def _cut(
    pixels: NDArray[np.uint8], x1: float, y1: float, x2: float, y2: float
) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    left, top = min(max(int(x1), 0), width - 1), min(max(int(y1), 0), height - 1)
    right, bottom = max(left + 1, min(round(x2), width)), max(top + 1, min(round(y2), height))
    return pixels[top:bottom, left:right]


def _ring(
    pixels: NDArray[np.uint8], x1: float, y1: float, x2: float, y2: float
) -> NDArray[np.uint8]:
    """Pixels of a thin frame just outside the box."""
    height, width = pixels.shape[:2]
    thick = max(1, round(0.08 * max(x2 - x1, y2 - y1)))
    outer = np.zeros((height, width), dtype=bool)
    left, top = max(int(x1) - thick, 0), max(int(y1) - thick, 0)
    outer[top : min(round(y2) + thick, height), left : min(round(x2) + thick, width)] = True
    outer[max(int(y1), 0) : round(y2), max(int(x1), 0) : round(x2)] = False
    return pixels[outer]


def _clusters(lab: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """k-means with deterministic, far-apart starts: centres (k, 3) and sizes (k,)."""
    centres = [np.median(lab, axis=0)]
    for _ in range(min(CLUSTERS, len(lab)) - 1):
        gaps = np.min([np.linalg.norm(lab - centre, axis=1) for centre in centres], axis=0)
        centres.append(lab[int(np.argmax(gaps))])
    points = np.array(centres)
    for _ in range(10):
        owner = np.argmin(np.linalg.norm(lab[:, None] - points[None], axis=2), axis=1)
        moved = np.array(
            [lab[owner == k].mean(axis=0) if (owner == k).any() else points[k]
             for k in range(len(points))]
        )  # fmt: skip
        if np.allclose(moved, points):
            break
        points = moved
    sizes = np.bincount(owner, minlength=len(points)).astype(np.float64)
    return points, sizes
