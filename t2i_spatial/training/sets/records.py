"""One record of a training set -> one example, and what must hold for all of them."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.training.data import Example, Grounding

SMALLEST = 4
CAPTIONS = ("text", "caption", "captions", "prompt", "txt")
"""Where a caption stands unless it is said; the first that there is."""
FILE_NAMES = ("file_name", "image", "file", "path")


def example(
    root: Path,
    record: Any,
    where: str,
    captions: Sequence[str] = (),
    *,
    image: Path | None = None,
) -> Example:
    """An example from a record.

    Args:
        root: what file names are relative to; they must not lead out of it.
        where: file and line, for messages.
        captions: names of the values that are captions; one may be a list of captions.
        image: the image file, where the record does not name it.

    Raises:
        InputError: something is missing, or not of its kind.
    """
    record = record if isinstance(record, Mapping) else {}
    texts = caption_texts(record, captions, where)
    name = next((record[key] for key in FILE_NAMES if isinstance(record.get(key), str)), None)
    if not texts or (name is None and image is None):
        raise InputError(f"{where}: needs file_name and text")
    for value in (name or "", *texts):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InputError(f"{where}: {value!r} holds what is not text")
    weight = _weight(record.get("weight"), where)
    path = image if image is not None else inside(root, str(name), where)
    objects = record.get("objects") or []
    if isinstance(objects, str) and objects.lstrip().startswith("["):  # as CSV has it
        objects = parse_json(objects, f"{where}, objects")
    if not isinstance(objects, list):
        raise InputError(f"{where}: objects must be a list")
    placed = tuple(_grounding(root, entry, where) for entry in objects)
    return Example(path, texts[0], weight, placed, tuple(texts[1:]))


def caption_texts(record: Mapping[str, Any], names: Sequence[str], where: str) -> list[str]:
    """The captions of a record, at least one where it has the values that are named.

    Raises:
        InputError: a named value is missing or no text.
    """
    if missing := [name for name in names if record.get(name) is None]:
        there = ", ".join(str(key) for key in record) or "nothing"
        raise InputError(f"{where}: no caption {missing[0]!r}; there is {there}")
    chosen = names or [name for name in CAPTIONS if record.get(name) is not None][:1]
    texts: list[Any] = []
    for name in chosen:
        value = record[name]
        texts += value if isinstance(value, list | tuple) else [value]
    if names and not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where}: {', '.join(names)} must be text or a list of texts")
    return texts if all(isinstance(text, str) for text in texts) else []


def checked(examples: Sequence[Example], where: Path | str) -> list[Example]:
    """The examples of weight above 0, their weights divided by the mean.

    Raises:
        InputError: missing images, too few examples, or no weight above 0.
    """
    if len(examples) < SMALLEST:
        raise InputError(
            f"{where} has {len(examples)} images; {SMALLEST} are the least to train on"
        )
    # os.path: Path.is_file raises on a name that is too long
    there = [os.path.isfile(example.path) for example in examples]  # noqa: PTH113
    missing = [e.path.name for e, found in zip(examples, there, strict=True) if not found]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(examples)} images of {where} are missing: "
            f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        )
    examples = [example for example in examples if example.weight > 0]
    if not examples:
        raise InputError(f"all weights in {where} are 0")
    if len(examples) < SMALLEST:
        raise InputError(
            f"{where} has {len(examples)} images of weight above 0; {SMALLEST} are the least to "
            "train on"
        )
    mean = sum(example.weight / len(examples) for example in examples)
    return [replace(example, weight=example.weight / mean) for example in examples]


def read_lines(path: Path) -> list[str]:
    """The lines of a text file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        # not splitlines: JSON may hold line separators of Unicode as they are
        return path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def inside(root: Path, name: str, where: str) -> Path:
    """The path of a file in `root`.

    Raises:
        InputError: the name leads elsewhere.
    """
    path = root / name
    if Path(os.path.relpath(path, root)).parts[:1] == ("..",):
        raise InputError(f"{where}: {name!r} is outside {root}")
    return path


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text.

    Raises:
        InputError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}") from None


def _weight(value: Any, where: str) -> float:
    if value is None or value == "":
        return 1.0
    if isinstance(value, str):
        try:
            value = float(value)  # CSV has only texts
        except ValueError:
            raise InputError(f"{where}: weight {value!r} is not a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: weight {value!r} is not a number")
    if not 0 <= value < math.inf or value > sys.float_info.max:
        raise InputError(f"{where}: weight {str(value)[:20]} is not a number >= 0")
    return float(value)


def _grounding(root: Path, entry: Any, where: str) -> Grounding:
    if not isinstance(entry, dict) or not isinstance(entry.get("phrase"), str):
        raise InputError(f"{where}: an object needs a phrase, got {entry!r}")
    box: Any = entry.get("box")
    mask = entry.get("mask")
    if isinstance(mask, str) and box is None:
        path = inside(root, mask, where)
        if not path.is_file():
            raise InputError(f"{where}: the mask {mask!r} is missing")
        return Grounding(entry["phrase"], mask=path)
    numbers = isinstance(box, list) and all(isinstance(value, int | float) for value in box)
    if not numbers or len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise InputError(f"{where}: {entry['phrase']!r} needs a box [x1, y1, x2, y2] or a mask")
    return Grounding(entry["phrase"], box=(box[0], box[1], box[2], box[3]))
