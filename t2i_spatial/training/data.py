"""The training set: an imagefolder with captions and weights, checked before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.images import ImageUnreadableError, read_image

SMALLEST = 4


@dataclass(frozen=True, slots=True)
class Grounding:
    """Where an object of the caption is: a box in pixels of the image file, or a mask file."""

    phrase: str
    box: tuple[float, float, float, float] | None = None
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One image of the training set; `weight` multiplies its loss."""

    path: Path
    text: str
    weight: float = 1.0
    objects: tuple[Grounding, ...] = ()


def read_imagefolder(folder: str | Path) -> list[Example]:
    """The examples of `FOLDER/train/metadata.jsonl` (or `FOLDER/metadata.jsonl`).

    Each line has `file_name` relative to the file, `text`, and optionally `weight` (>= 0) and
    `objects` for the attention losses: a list of `{"phrase": ..., "box": [x1, y1, x2, y2]}` in
    pixels of the image, or `{"phrase": ..., "mask": FILE}` with FILE relative to the folder. Images
    of weight 0 are left out; the other weights are divided by their mean, so that they change which
    images matter and not the step size.

    Raises:
        InputError: no metadata, a broken line (says which), missing images (says how many), names
            that lead outside the folder, or fewer than 4 examples of weight above 0. Links in the
            folder are followed: a hub's cache consists of them.
    """
    folder = Path(folder)
    for metadata in (folder / "train" / "metadata.jsonl", folder / "metadata.jsonl"):
        if metadata.is_file():
            break
    else:
        raise InputError(
            f"{folder} has no train/metadata.jsonl; `t2i-spatial curate --export imagefolder` "
            "writes one"
        )
    examples = [
        _example(metadata, number, line)
        for number, line in enumerate(_lines(metadata), 1)
        if line.strip()
    ]
    if len(examples) < SMALLEST:
        raise InputError(
            f"{metadata} has {len(examples)} images; {SMALLEST} are the least to train on"
        )
    # os.path: Path.is_file raises on a name that is too long
    there = [os.path.isfile(example.path) for example in examples]  # noqa: PTH113
    missing = [e.path.name for e, found in zip(examples, there, strict=True) if not found]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(examples)} images of {metadata} are missing: "
            f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        )
    examples = [example for example in examples if example.weight > 0]
    if not examples:
        raise InputError(f"all weights in {metadata} are 0")
    if len(examples) < SMALLEST:
        raise InputError(
            f"{metadata} has {len(examples)} images of weight above 0; {SMALLEST} are the least to "
            "train on"
        )
    mean = sum(example.weight / len(examples) for example in examples)
    return [replace(example, weight=example.weight / mean) for example in examples]


def _lines(metadata: Path) -> list[str]:
    try:
        # not splitlines: JSON may hold line separators of Unicode as they are
        return metadata.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{metadata} cannot be read: {error}") from None


def _example(metadata: Path, number: int, line: str) -> Example:
    where = f"{metadata}, line {number}"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}") from None
    name = record.get("file_name") if isinstance(record, dict) else None
    if not isinstance(name, str) or not isinstance(record.get("text"), str):
        raise InputError(f"{where}: needs file_name and text")
    for value in (name, record["text"]):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InputError(f"{where}: {value!r} holds what is not text")
    weight = record.get("weight")
    weight = 1.0 if weight is None else weight
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise InputError(f"{where}: weight {weight!r} is not a number")
    if not 0 <= weight < math.inf or weight > sys.float_info.max:
        raise InputError(f"{where}: weight {str(weight)[:20]} is not a number >= 0")
    path = _inside(metadata, name, where)
    objects = record.get("objects") or []
    if not isinstance(objects, list):
        raise InputError(f"{where}: objects must be a list")
    return Example(
        path,
        record["text"],
        float(weight),
        tuple(_grounding(metadata, entry, where) for entry in objects),
    )


def _inside(metadata: Path, name: str, where: str) -> Path:
    path = metadata.parent / name
    if Path(os.path.relpath(path, metadata.parent)).parts[:1] == ("..",):
        raise InputError(f"{where}: {name!r} is outside {metadata.parent}")
    return path


def _grounding(metadata: Path, entry: Any, where: str) -> Grounding:
    if not isinstance(entry, dict) or not isinstance(entry.get("phrase"), str):
        raise InputError(f"{where}: an object needs a phrase, got {entry!r}")
    box: Any = entry.get("box")
    mask = entry.get("mask")
    if isinstance(mask, str) and box is None:
        path = _inside(metadata, mask, where)
        if not path.is_file():
            raise InputError(f"{where}: the mask {mask!r} is missing")
        return Grounding(entry["phrase"], mask=path)
    numbers = isinstance(box, list) and all(isinstance(value, (int, float)) for value in box)
    if not numbers or len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise InputError(f"{where}: {entry['phrase']!r} needs a box [x1, y1, x2, y2] or a mask")
    return Grounding(entry["phrase"], box=(box[0], box[1], box[2], box[3]))


def data_hash(examples: Sequence[Example]) -> str:
    """sha256 over captions, weights and image files, in order."""
    digest = hashlib.sha256()
    for example in examples:
        with example.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{example.text}\n{example.weight!r}\n{content}\n".encode())
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
