"""Scenes of emoji-like sprites with known boxes: what the bundled models are trained on.

numpy and Pillow only. A scene is data (`Scene`), sampled from a numpy Generator or written by
hand; `render` turns it into an image and the tight box of every object. Nothing is ever mirrored:
left stays left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SPRITE_FOLDER = Path(__file__).parent / "sprites"

NOUNS: tuple[str, ...] = (
    "cat", "dog", "elephant", "zebra", "giraffe", "bird", "car", "bus", "airplane", "boat",
    "umbrella", "banana", "apple", "pizza", "donut", "cake", "carrot", "broccoli", "chair",
    "clock", "book", "teddy bear", "laptop", "cup",
)  # fmt: skip
"""The nouns, spelt as in COCO, that the bundled models know."""

RELATIONS: tuple[str, ...] = ("left", "right", "above", "below")
"""Relations of the first object of a scene to the second one, as seen by the viewer."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 40, 40),
    "green": (40, 165, 60),
    "blue": (45, 95, 225),
    "yellow": (245, 210, 40),
    "purple": (145, 60, 190),
    "pink": (250, 130, 185),
    "white": (250, 250, 250),
    "black": (50, 50, 54),
}
"""Tints (RGB, 0-255) that an object may get instead of its own colours."""

TINTABLE = frozenset(
    ("car", "bus", "airplane", "boat", "umbrella", "chair", "clock", "book", "cup", "bird", "cat")
)
ANGLES = (-16, -8, 0, 8, 16)
OFFSETS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "above": (0.0, -1.0), "below": (0.0, 1.0)}


@dataclass(frozen=True)
class SceneObject:
    """One sprite: centre and longer side as fractions of the image side, y down."""

    noun: str
    x: float
    y: float
    size: float
    angle: int = 0
    brightness: float = 1.0
    colour: str | None = None


@dataclass(frozen=True)
class Background:
    """`first` fills the top (left for `gradient_x`), `second` the rest; RGB, 0-255."""

    kind: str = "plain"
    first: tuple[int, int, int] = (235, 235, 235)
    second: tuple[int, int, int] = (235, 235, 235)
    horizon: float = 0.6


@dataclass(frozen=True)
class Scene:
    """Objects on a background; `relation` is that of the first object to the second, if any."""

    objects: tuple[SceneObject, ...]
    background: Background = Background()
    relation: str | None = None


def sprite_file(noun: str) -> str:
    """Return the file name of a noun's sprite.

    >>> sprite_file("teddy bear")
    'teddy_bear.png'
    """
    return noun.replace(" ", "_") + ".png"


@cache
def _sprite(noun: str) -> Image.Image:
    if noun not in NOUNS:
        raise ValueError(f"no sprite for {noun!r}; known nouns: {', '.join(NOUNS)}")
    with Image.open(SPRITE_FOLDER / sprite_file(noun)) as image:
        return image.convert("RGBA")


def _draw_sprite(
    noun: str, pixels: int, angle: int, colour: str | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int, int, int]]:
    """Return (colour premultiplied by alpha, 1 - alpha, tight box within the patch)."""
    sprite = _sprite(noun)
    if angle:
        sprite = sprite.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        sprite = sprite.crop(sprite.getchannel("A").getbbox())
    scale = pixels / max(sprite.size)
    width, height = (max(2, round(side * scale)) for side in sprite.size)
    patch = np.asarray(sprite.resize((width, height), Image.Resampling.LANCZOS), np.float32)
    rgb, alpha = patch[..., :3], patch[..., 3:] / 255.0
    if colour is not None:
        grey = (rgb @ np.array([0.299, 0.587, 0.114], np.float32))[..., None] / 255.0
        tint = np.array(COLOURS[colour], np.float32)
        rgb = 0.15 * rgb + 0.85 * tint * (0.45 + 0.65 * grey)
    rows, columns = (np.flatnonzero((alpha[..., 0] > 0.5).any(axis=axis)) for axis in (1, 0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return np.minimum(rgb, 255.0) * alpha, 1.0 - alpha, box


_cached_sprite = lru_cache(maxsize=16384)(_draw_sprite)


def _paint_background(background: Background, side: int) -> NDArray[np.float32]:
    first = np.array(background.first, np.float32)
    second = np.array(background.second, np.float32)
    canvas = np.empty((side, side, 3), np.float32)
    if background.kind == "plain":
        canvas[:] = first
    elif background.kind == "floor":
        horizon = round(background.horizon * side)
        canvas[:horizon] = first
        canvas[horizon:] = second
    elif background.kind in ("gradient_x", "gradient_y"):
        ramp = np.linspace(0, 1, side, dtype=np.float32)[:, None]
        line = first + (second - first) * ramp
        canvas[:] = line[None] if background.kind == "gradient_x" else line[:, None]
    else:
        raise ValueError(f"unknown background kind {background.kind!r}")
    return canvas


def render(scene: Scene, side: int = 64) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw a scene: image (side, side, 3) uint8 RGB and boxes (n, 4) float32 xyxy in pixels.

    Later objects cover earlier ones. A box bounds the pixels where the object's own alpha is over
    one half, cut at the image border; a scene without objects gives boxes of shape (0, 4).

    >>> scene = Scene((SceneObject("cat", 0.25, 0.5, 0.4), SceneObject("bus", 0.75, 0.5, 0.4)))
    >>> image, boxes = render(scene, side=64)
    >>> image.shape, boxes.shape, bool(boxes[0, 2] <= boxes[1, 0])
    ((64, 64, 3), (2, 4), True)

    Raises ValueError for a noun without a sprite or an unknown background kind.
    """
    canvas = _paint_background(scene.background, side)
    boxes = np.zeros((len(scene.objects), 4), np.float32)
    for index, item in enumerate(scene.objects):
        pixels = max(4, round(item.size * side))
        draw = _cached_sprite if pixels <= 64 else _draw_sprite
        colours, rest, (x0, y0, x1, y1) = draw(item.noun, pixels, item.angle, item.colour)
        height, width = rest.shape[:2]
        left, top = round(item.x * side - width / 2), round(item.y * side - height / 2)
        cut_x, cut_y = max(0, -left), max(0, -top)
        end_x, end_y = min(width, side - left), min(height, side - top)
        if end_x > cut_x and end_y > cut_y:
            patch = canvas[top + cut_y : top + end_y, left + cut_x : left + end_x]
            patch *= rest[cut_y:end_y, cut_x:end_x]
            patch += np.minimum(colours[cut_y:end_y, cut_x:end_x] * item.brightness, 255.0)
        boxes[index] = (left + x0, top + y0, left + x1, top + y1)
    np.clip(boxes, 0, side, out=boxes)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8), boxes


def sample_background(rng: np.random.Generator) -> Background:
    """Sample a background: mostly soft colours, half plain, the rest gradients and floors."""

    def colour() -> NDArray[np.float64]:
        level = rng.uniform(150, 250) if rng.random() < 0.8 else rng.uniform(60, 150)
        return np.clip(level + rng.uniform(-38, 38, 3), 0, 255)

    first, second = colour(), colour()
    draw = rng.random()
    kind = "plain" if draw < 0.5 else "floor" if draw < 0.75 else "gradient_y"
    kind = "gradient_x" if draw > 0.92 else kind
    if kind.startswith("gradient"):
        second = np.clip(first + rng.uniform(-70, 70, 3), 0, 255)
    return Background(
        kind,
        tuple(int(value) for value in first),  # type: ignore[arg-type]
        tuple(int(value) for value in second),  # type: ignore[arg-type]
        float(rng.uniform(0.45, 0.75)),
    )


def _place(
    rng: np.random.Generator, count: int, relation: str | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centres (count, 2) and sizes (count,) as fractions of the side."""
    if count == 1:
        sizes = rng.uniform(0.34, 0.6, 1)
        centres = rng.uniform(sizes[0] / 2, 1 - sizes[0] / 2, (1, 2))
        centres = 0.5 + (centres - 0.5) * rng.uniform(0.3, 1.0)
    elif count == 2:
        sizes = rng.uniform(0.30, 0.47, 2)
        if relation is not None:
            axis = np.array(OFFSETS[relation])
            across = axis[::-1] * rng.uniform(-0.14, 0.14)
        else:
            axis = np.array([rng.choice([-1.0, 1.0]), rng.choice([-1.0, 1.0])]) * 0.85
            across = np.zeros(2)
        distance = max(rng.uniform(0.40, 0.56), sizes.mean() * rng.uniform(0.93, 1.12))
        middle = rng.uniform(0.42, 0.58, 2) + across * rng.uniform(-1, 1)
        half = axis * distance / 2 + across / 2
        centres = np.stack([middle + half, middle - half])
    else:
        sizes = rng.uniform(0.25, 0.37, count)
        cells = np.array([(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)])
        centres = cells[rng.permutation(4)[:count]] + rng.uniform(-0.07, 0.07, (count, 2))
        if relation is not None:
            dx, dy = OFFSETS[relation]
            if ((centres[0] - centres[1]) @ (dx, dy)) <= 0.2:
                column = rng.permutation(2)
                row = rng.integers(2)
                low, high = (1, 0) if dx + dy < 0 else (0, 1)
                along = (0.27, 0.73)
                pair = [(along[high], along[row]), (along[low], along[row])]
                third = (along[column[0]], along[1 - row])
                cells = np.array([*pair, third])
                centres = (cells if dx else cells[:, ::-1]) + rng.uniform(-0.07, 0.07, (3, 2))
    return np.clip(centres, sizes[:, None] / 2, 1 - sizes[:, None] / 2), sizes


def sample_scene(
    rng: np.random.Generator,
    *,
    nouns: Sequence[str] | None = None,
    relation: str | None = None,
    colours: Sequence[str | None] | None = None,
    background: Background | None = None,
) -> Scene:
    """Sample a scene; given `nouns` (one per object) and `relation`, one that satisfies them.

    Without `nouns`: one object (18 %), two (64 %, most of them related), two or three of the same
    noun (8 %) or three (10 %); some touch or overlap a little. The same generator state gives the
    same scene.

    >>> scene = sample_scene(np.random.default_rng(0), nouns=("dog", "cup"), relation="above")
    >>> [item.noun for item in scene.objects], scene.objects[0].y < scene.objects[1].y
    (['dog', 'cup'], True)

    Raises ValueError for an unknown noun or relation, for a relation between fewer than two
    objects, and for more than four objects.
    """
    if relation is not None and relation not in RELATIONS:
        raise ValueError(f"unknown relation {relation!r}; known: {', '.join(RELATIONS)}")
    if nouns is None:
        draw = rng.random()
        count = 1 if draw < 0.18 else 2 if draw < 0.82 or 0.86 <= draw < 0.90 else 3
        picked = rng.permutation(len(NOUNS))[:count]
        if 0.82 <= draw < 0.90:
            picked = np.repeat(picked[:1], count)
        nouns = [NOUNS[index] for index in picked]
        if relation is None and count > 1 and rng.random() < 0.9:
            relation = RELATIONS[rng.integers(4)]
    unknown = [noun for noun in nouns if noun not in NOUNS]
    if unknown:
        raise ValueError(f"no sprite for {unknown[0]!r}; known nouns: {', '.join(NOUNS)}")
    if not 1 <= len(nouns) <= 4 or (relation is not None and len(nouns) < 2):
        raise ValueError(f"cannot place {len(nouns)} object(s) with relation {relation!r}")
    if colours is None:
        tinted = rng.random(len(nouns)) < 0.12
        names = list(COLOURS)
        colours = [
            names[rng.integers(len(names))] if tint and noun in TINTABLE else None
            for noun, tint in zip(nouns, tinted, strict=True)
        ]
    centres, sizes = _place(rng, len(nouns), relation)
    objects = tuple(
        SceneObject(
            noun,
            float(centre[0]),
            float(centre[1]),
            float(size),
            ANGLES[rng.integers(len(ANGLES))],
            float(rng.uniform(0.88, 1.08)),
            colour,
        )
        for noun, centre, size, colour in zip(nouns, centres, sizes, colours, strict=True)
    )
    return Scene(objects, background or sample_background(rng), relation)
