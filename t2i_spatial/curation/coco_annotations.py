"""COCO annotation files as candidates: every pair of annotated boxes of an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter, ValidationError

from t2i_spatial.errors import InputError
from t2i_spatial.locations import is_url, locate

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


_Id = Annotated[int, Field(ge=-(2**63), lt=2**63)] | str
_Text = Annotated[
    str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$")
]
_Side = Annotated[int, Field(ge=1, le=1_000_000)]
_Extent = Annotated[FiniteFloat, Field(ge=0)]


class _Category(BaseModel):
    id: _Id
    name: _Text


class _Image(BaseModel):
    id: _Id
    file_name: _Text
    width: _Side
    height: _Side


class _Annotation(BaseModel):
    id: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    image_id: _Id
    category_id: _Id
    bbox: tuple[FiniteFloat, FiniteFloat, _Extent, _Extent]


def read_coco(path: str | Path, images: str | Path) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Objects and images of a COCO annotation file, for `scop.make_pairs`.

    Args:
        path: `instances_*.json`. Annotated boxes have the score 1; crowds are boxes like others.
        images: folder that `file_name` is relative to.

    A file without annotations gives tables without rows.

    Raises:
        InputError: no such file, not JSON, no COCO data set, two entries with one id, or an
            annotation without a known image, a known category or four finite numbers (says which).
    """
    path = locate(path)
    data = _read(path)
    names: dict[int | str, str] = {}
    for category in _entries(data, "categories", _Category, path):
        if names.setdefault(category.id, category.name) != category.name:
            raise InputError(f"{path}: two categories have the id {category.id}")
    folder = locate(images)
    pictures = [
        (str(i.id), i.file_name, str(_inside(folder, i.file_name)), i.width, i.height)
        for i in _entries(data, "images", _Image, path)
    ]
    known = {picture[0] for picture in pictures}
    if len(known) < len(pictures):
        raise InputError(f"{path}: two images have the same id")
    objects = []
    for found in _entries(data, "annotations", _Annotation, path):
        if str(found.image_id) not in known:
            raise InputError(
                f"{path}: annotation {found.id} is of the unknown image {found.image_id}"
            )
        if found.category_id not in names:
            raise InputError(
                f"{path}: annotation {found.id} has the unknown category {found.category_id}"
            )
        label = names[found.category_id]
        objects.append((str(found.image_id), found.id, label, 1.0, *found.bbox))
    return (
        pl.DataFrame(objects, schema=_OBJECTS, orient="row").lazy(),
        pl.DataFrame(pictures, schema=_IMAGES, orient="row").lazy(),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} is not a COCO data set: expected an object with 'images'")
    return data


def _entries(data: Mapping[str, Any], key: str, model: Any, path: Path) -> list[Any]:
    entries = data.get(key)
    if not isinstance(entries, list):
        raise InputError(f"{path} is not a COCO data set: it has no list of {key!r}")
    try:
        return TypeAdapter(list[model]).validate_python(entries)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        number, *place = first["loc"]
        entry = entries[int(number)]
        name = entry.get("id") if isinstance(entry, dict) and "id" in entry else f"number {number}"
        field = f", {place[0]}" if place else ""
        raise InputError(f"{path}: {key}, {name!r:.40}{field}: {first['msg']}") from None


def _inside(folder: Path, file_name: str) -> Path:
    path = folder / file_name
    outside = is_url(file_name) or Path(file_name).is_absolute()
    if outside or ".." in Path(file_name).parts:
        raise InputError(f"the file name {file_name!r} leads out of the image folder")
    return path
