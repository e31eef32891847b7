"""The training set: an imagefolder with captions and weights, checked before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.images import ImageUnreadableError, read_image

SMALLEST = 4


@dataclass(frozen=True, slots=True)
class Example:
    """One image of the training set; `weight` multiplies its loss."""

    path: Path
    text: str
    weight: float = 1.0


def read_imagefolder(folder: str | Path) -> list[Example]:
    """The examples of `FOLDER/train/metadata.jsonl` (or `FOLDER/metadata.jsonl`).

    Each line has `file_name` relative to the file, `text`, and optionally `weight` (>= 0). Images
    of weight 0 are left out; the other weights are divided by their mean, so that they change which
    images matter and not the step size.

    Raises:
        InputError: no metadata, a broken line (says which), missing images (says how many), images
            outside the folder, or fewer than 4 examples.
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
    missing = [example.path.name for example in examples if not example.path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(examples)} images of {metadata} are missing: "
            f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        )
    examples = [example for example in examples if example.weight > 0]
    if not examples:
        raise InputError(f"all weights in {metadata} are 0")
    mean = sum(example.weight for example in examples) / len(examples)
    return [Example(example.path, example.text, example.weight / mean) for example in examples]


def _lines(metadata: Path) -> list[str]:
    try:
        return metadata.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{metadata} cannot be read: {error}") from None


def _example(metadata: Path, number: int, line: str) -> Example:
    where = f"{metadata}, line {number}"
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: {error}") from None
    name = record.get("file_name") if isinstance(record, dict) else None
    if not isinstance(name, str) or not isinstance(record.get("text"), str):
        raise InputError(f"{where}: needs file_name and text")
    weight = record.get("weight")
    weight = 1.0 if weight is None else weight
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise InputError(f"{where}: weight {weight!r} is not a number")
    if not (math.isfinite(weight) and weight >= 0):
        raise InputError(f"{where}: weight {weight} is not a number >= 0")
    root = metadata.parent.resolve()
    path = metadata.parent / name
    if root not in path.resolve().parents and not path.is_symlink():
        raise InputError(f"{where}: {name!r} is outside {metadata.parent}")
    return Example(path, record["text"], float(weight))


def data_hash(examples: Sequence[Example]) -> str:
    """sha256 over captions, weights and image files, in order."""
    digest = hashlib.sha256()
    for example in examples:
        with example.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{example.text}\n{example.weight!r}\n{content}\n".encode())
    return digest.hexdigest()


def fit_image(path: Path, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One image as (3, size, size) float32 in [-1, 1]: whole, centred, never cropped or flipped.

    It is scaled to fit (Lanczos); the rest is filled by repeating the outermost pixels.

    Raises:
        InputError: the file is not a readable image.
    """
    try:
        image = read_image(path)
    except ImageUnreadableError as error:
        raise InputError(f"training image {error}") from None
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1
    top, left = (size - height) // 2, (size - width) // 2
    padding = ((top, size - height - top), (left, size - width - left), (0, 0))
    return np.ascontiguousarray(np.pad(pixels, padding, mode="edge").transpose(2, 0, 1))
