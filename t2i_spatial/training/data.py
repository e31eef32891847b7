"""What a model is trained on: image files with captions and weights; images as pixels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.images import ImageUnreadableError, read_image


@dataclass(frozen=True, slots=True)
class Grounding:
    """Where an object of the caption is: a box in pixels of the image file, or a mask file."""

    phrase: str
    box: tuple[float, float, float, float] | None = None
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One image of the training set.

    Attributes:
        weight: multiplies its loss.
        more: further captions; every epoch one of all is drawn.
    """

    path: Path
    text: str
    weight: float = 1.0
    objects: tuple[Grounding, ...] = ()
    more: tuple[str, ...] = ()

    @property
    def captions(self) -> tuple[str, ...]:
        """All captions, `text` first."""
        return (self.text, *self.more)


def data_hash(examples: Sequence[Example]) -> str:
    """sha256 over captions, weights and image files, in order."""
    digest = hashlib.sha256()
    for example in examples:
        with example.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        for text in example.captions:
            digest.update(f"{text}\n".encode())
        digest.update(f"{example.weight!r}\n{content}\n".encode())
        for item in example.objects:
            mask = b"" if item.mask is None else item.mask.read_bytes()
            digest.update(f"{item.phrase}\n{item.box}\n".encode() + mask)
    return digest.hexdigest()


def fit_image(path: Path, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One image as (3, size, size) float32 in [-1, 1]: whole, centred, never cropped or flipped.

    It is scaled to fit (Lanczos); the rest is filled by repeating the outermost pixels.

    Raises:
        InputError: the file is not a readable image.
    """
    image = _read(path)
    width, height, (rows, columns) = _placement(image, size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1
    padded = np.pad(pixels, (rows, columns, (0, 0)), mode="edge")
    return np.ascontiguousarray(padded.transpose(2, 0, 1))


def fit_mask(example: Example, item: Grounding, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Where an object is after `fit_image`: (size, size), 1 inside, 0 outside and in the padding.

    Raises:
        InputError: the image or mask is not readable, or their sizes differ.
    """
    image = _read(example.path)
    width, height, (rows, columns) = _placement(image, size)
    if item.mask is not None:
        mask = _read(item.mask).convert("L")
        if mask.size != image.size:
            raise InputError(
                f"mask {item.mask.name} is {mask.width}x{mask.height}, its image "
                f"{image.width}x{image.height}"
            )
    else:
        mask = Image.fromarray(_filled(item.box or (0, 0, 0, 0), *image.size))
    scaled = np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)) > 127
    return np.pad(scaled.astype(np.uint8), (rows, columns))


def _filled(
    box: tuple[float, float, float, float], width: int, height: int
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image with 255 in every pixel that a box touches; x2 and y2 are its outer edges."""
    left, top = (math.floor(max(0, edge)) for edge in box[:2])
    right, bottom = math.ceil(min(box[2], width)), math.ceil(min(box[3], height))
    pixels = np.zeros((height, width), np.uint8)
    pixels[top : max(top, bottom), left : max(left, right)] = 255
    return pixels


def _read(path: Path) -> Image.Image:
    try:
        return read_image(path)
    except ImageUnreadableError as error:
        raise InputError(f"training image {error}") from None


def _placement(
    image: Image.Image, size: int
) -> tuple[int, int, tuple[tuple[int, int], tuple[int, int]]]:
    """Size of an image scaled to fit, and the padding above, below, left and right of it."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    top, left = (size - height) // 2, (size - width) // 2
    return width, height, ((top, size - height - top), (left, size - width - left))
