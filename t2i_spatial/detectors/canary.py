"""A detector on drawings whose boxes are known: frames, order and colour channels must be right.

A detector that loads may still be wrong without an error: boxes in the frame of a padded or
stretched image, rotated pictures, swapped colour channels. Four drawings of sprites show it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2i_spatial.bundled.scenes import Background, Scene, SceneObject, render
from t2i_spatial.detections import Detections
from t2i_spatial.detectors.base import Detector
from t2i_spatial.detectors.color_pixels import box_color
from t2i_spatial.images import read_image

LEAST_IOU = 0.5
GREY = Background("plain", (214, 214, 210), (214, 214, 210))
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Drawing:
    """A drawing with two objects; the first stands in `relation` to the second."""

    name: str
    image: Image.Image
    nouns: tuple[str, ...]
    boxes: NDArray[np.float64]
    relation: str
    colors: tuple[str, str] | None = None


@dataclass(frozen=True)
class CanaryCase:
    """What a detector made of one drawing; `iou` is the weaker one of the two objects."""

    drawing: str
    iou: float
    order: bool
    colors: bool | None

    @property
    def passed(self) -> bool:
        """Both boxes where they were drawn, in the right order and colours."""
        return self.iou >= LEAST_IOU and self.order and self.colors is not False


@dataclass(frozen=True)
class CanaryResult:
    """All drawings of one detector."""

    cases: tuple[CanaryCase, ...]

    @property
    def passed(self) -> bool:
        """Whether every drawing was read correctly."""
        return all(case.passed for case in self.cases)

    def to_dict(self) -> dict[str, Any]:
        """For `run.json` and `--json`."""
        cases = [{**asdict(case), "passed": case.passed} for case in self.cases]
        return {"passed": self.passed, "drawings": cases}


def drawings(side: int = 128) -> list[Drawing]:
    """Square, wide (3:2), tall (2:3) and EXIF-rotated; left, right, above, below.

    Args:
        side: the short side in pixels.
    """
    wide, tall = (side * 3 // 2, side), (side, side * 3 // 2)
    made = [
        _draw("square", (side, side), "left", ("car", "car"), ("red", "blue")),
        _draw("wide", wide, "right", ("elephant", "banana")),
        _draw("tall", tall, "above", ("cat", "pizza")),
    ]
    turned = _draw("exif-rotated", tall, "below", ("zebra", "clock"))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # stored on its side: turn clockwise to view
    on_its_side = turned.image.transpose(Image.Transpose.ROTATE_90)
    read = [_through_a_file(drawing, drawing.image, Image.Exif()) for drawing in made]
    return [*read, _through_a_file(turned, on_its_side, exif)]


def _through_a_file(drawing: Drawing, image: Image.Image, exif: Image.Exif) -> Drawing:
    """The drawing as a run would read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawing.png"
        image.save(path, exif=exif)
        return replace(drawing, image=read_image(path))


def run_canary(detector: Detector, side: int | None = None) -> CanaryResult:
    """Let a detector find the objects of all drawings, one image at a time.

    Args:
        side: short side of the drawings; `None` takes 128 for the bundled detector, else 512.
    """
    side = side or (128 if detector.spec.spec == "bundled" else 512)
    cases = []
    for drawing in drawings(side):
        asked = drawing.nouns
        if drawing.colors and _reads_colors(detector, drawing):
            asked = tuple(f"{c} {n}" for c, n in zip(drawing.colors, asked, strict=True))
        (found,) = detector([drawing.image], [asked])
        cases.append(_judge(drawing, asked, found))
    return CanaryResult(tuple(cases))


def _reads_colors(detector: Detector, drawing: Drawing) -> bool:
    """The bundled detector knows nouns only, a closed vocabulary refuses anything else."""
    phrase = f"{drawing.colors[0] if drawing.colors else ''} {drawing.nouns[0]}"
    return detector.spec.spec != "bundled" and detector.refuse(phrase) is None


def _draw(
    name: str,
    size: tuple[int, int],
    relation: str,
    nouns: tuple[str, str],
    colors: tuple[str, str] | None = None,
) -> Drawing:
    """Two sprites a third of the short side wide, drawn on a square that is then cut to size."""
    side, short = max(size), min(size)
    horizontal = relation in ("left", "right")
    first = -1.0 if relation in ("left", "above") else 1.0
    # off centre across the axis, so that a box in the frame of another shape misses
    step, across = 0.28 * (size[0] if horizontal else size[1]) / side, 0.08 * short / side
    places = [
        (0.5 + sign * step, 0.5 + across) if horizontal else (0.5 + across, 0.5 + sign * step)
        for sign in (first, -first)
    ]
    objects = tuple(
        SceneObject(noun, x, y, 0.36 * short / side, colour=colors[k] if colors else None)
        for k, (noun, (x, y)) in enumerate(zip(nouns, places, strict=True))
    )
    pixels, boxes = render(Scene(objects, GREY), side)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    image = Image.fromarray(pixels).crop((left, top, left + size[0], top + size[1]))
    moved = boxes.astype(np.float64) - (left, top, left, top)
    return Drawing(name, image, nouns, moved, relation, colors)


def _judge(drawing: Drawing, asked: Sequence[str], found: Detections) -> CanaryCase:
    """Each object takes the box of its name that overlaps it most."""
    chosen = []
    overlaps = []
    for noun, true in zip(asked, drawing.boxes, strict=True):
        own = [k for k, label in enumerate(found.labels) if label == noun]
        scores = [_iou(found.boxes[k], true) for k in own]
        overlaps.append(max(scores, default=0.0))
        chosen.append(found.boxes[own[int(np.argmax(scores))]] if own else None)
    first, second = chosen
    if first is None or second is None:
        return CanaryCase(drawing.name, 0.0, False, None if drawing.colors is None else False)
    axis = 0 if drawing.relation in ("left", "right") else 1
    gap = (second[axis] + second[axis + 2]) - (first[axis] + first[axis + 2])
    order = bool(gap > 0) == (drawing.relation in ("left", "above"))
    colors = None
    if drawing.colors is not None:
        pixels = np.asarray(drawing.image)
        colors = (box_color(pixels, first), box_color(pixels, second)) == drawing.colors
    return CanaryCase(drawing.name, round(float(min(overlaps)), 3), order, colors)


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.clip(high - low, 0, None).prod())
    areas = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod())
    return shared / (areas - shared) if areas > shared else 0.0
