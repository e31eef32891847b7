"""COCO annotation files as candidates: every pair of annotated boxes of an image."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError

_OBJECTS: dict[str, Any] = {
    "image_id": pl.String,
    "object_id": pl.Int64,
    "label": pl.String,
    "score": pl.Float64,
    **dict.fromkeys("xywh", pl.Float64),
}
_IMAGES: dict[str, Any] = {
    "image_id": pl.String,
    "image": pl.String,
    "path": pl.String,
    "width": pl.Int32,
    "height": pl.Int32,
}


def read_coco(path: str | Path, images: str | Path) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Objects and images of a COCO annotation file, for `scop.make_pairs`.

    Args:
        path: `instances_*.json`. Annotated boxes have the score 1; crowds are boxes like others.
        images: folder that `file_name` is relative to.

    A file without annotations gives tables without rows.

    Raises:
        InputError: no such file, not JSON, no COCO data set, or an annotation without a known
            image, a known category or four finite numbers (says which).
    """
    path = Path(path)
    data = _read(path)
    names = {entry["id"]: str(entry["name"]) for entry in _list(data, "categories", path)}
    folder = Path(images)
    pictures = []
    for entry in _list(data, "images", path):
        try:
            file_name = str(entry["file_name"])
            row = {
                "image_id": str(entry["id"]),
                "image": file_name,
                "path": str(_inside(folder, file_name)),
                "width": int(entry["width"]),
                "height": int(entry["height"]),
            }
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: an image without {error}: {entry}") from None
        pictures.append(row)
    known = {str(row["image_id"]) for row in pictures}
    if len(known) < len(pictures):
        raise InputError(f"{path}: two images have the same id")
    objects = [_object(entry, names, known, path) for entry in _list(data, "annotations", path)]
    return (
        pl.DataFrame(objects, schema=_OBJECTS, orient="row").lazy(),
        pl.DataFrame(pictures, schema=_IMAGES).lazy(),
    )


def _object(
    entry: Mapping[str, Any], names: Mapping[Any, str], known: set[str], path: Path
) -> tuple[Any, ...]:
    number = entry.get("id")
    image = str(entry.get("image_id"))
    if image not in known:
        raise InputError(f"{path}: annotation {number} is of the unknown image {image}")
    if entry.get("category_id") not in names:
        category = entry.get("category_id")
        raise InputError(f"{path}: annotation {number} has the unknown category {category}")
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) for v in box):
        raise InputError(
            f"{path}: annotation {number} needs a bbox of four finite numbers, got {box!r}"
        )
    if box[2] < 0 or box[3] < 0:
        raise InputError(f"{path}: annotation {number} has a bbox of negative size: {box}")
    return (image, number, names[entry["category_id"]], 1.0, *map(float, box))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            data = json.load(file)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} is not a COCO data set: expected an object with 'images'")
    return data


def _list(data: Mapping[str, Any], key: str, path: Path) -> list[Mapping[str, Any]]:
    entries = data.get(key)
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise InputError(f"{path} is not a COCO data set: it has no list of {key!r}")
    return entries


def _inside(folder: Path, file_name: str) -> Path:
    path = folder / file_name
    if Path(file_name).is_absolute() or ".." in Path(file_name).parts:
        raise InputError(f"the file name {file_name!r} leads out of the image folder")
    return path
