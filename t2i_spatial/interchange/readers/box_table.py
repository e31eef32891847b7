"""One row per box: CSV of a spreadsheet or pandas, Parquet, or flat JSON records.

Columns are found by their usual names: the image (`image`, `file_name` …, or `prompt_id` and
`sample`), the label, the score, and four corners (`xmin, ymin, xmax, ymax`, `x1 … y2`,
`left, top, right, bottom`) or corner and size (`x, y, w, h`). A row without label and box is an
image in which nothing was found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.interchange.readers import FORMATS, FOUND, Content, DetectionFormat
from t2i_spatial.interchange.readers.own import content_label
from t2i_spatial.prompts.readers import id_text
from t2i_spatial.tables import SCORED

_NAMES = {
    "prompt_id": ("prompt_id",),
    "sample": ("sample",),
    "image": (
        "image", "file_name", "filename", "image_path", "image_name", "path", "img", "file",
        "image_id", "imageid",
    ),
    "label": ("label", "class", "name", "category", "class_name", "label_name", "labelname",
              "object", "class_id", "category_id"),
    "score": ("score", "confidence", "conf", "probability", "prob"),
}  # fmt: skip
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
_SIZED = (
    ("x", "y", "w", "h"),
    ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
    ("x", "y", "width", "height"),
)
_SIDES = {"width": ("image_width", "img_width", "width"),
          "height": ("image_height", "img_height", "height")}  # fmt: skip


class _Columns:
    """Which columns of a table say what."""

    def __init__(self, names: Iterable[str]) -> None:
        lower = {name.strip().lower(): name for name in names}
        self.of = {
            kind: next((lower[name] for name in known if name in lower), None)
            for kind, known in _NAMES.items()
        }
        self.corners = next((c for c in _CORNERS if set(c) <= set(lower)), None)
        self.sized = None
        if self.corners is None:
            self.sized = next((c for c in _SIZED if set(c) <= set(lower)), None)
        self.box = [lower[name] for name in self.corners or self.sized or ()]
        self.sides = {
            side: next((lower[n] for n in known if n in lower and lower[n] not in self.box), None)
            for side, known in _SIDES.items()
        }

    @property
    def complete(self) -> bool:
        return bool(self.box and self.of["label"] and (self.of["image"] or self.of["prompt_id"]))


def _matches(content: Content) -> bool:
    if content.table is not None:
        return (
            "detections" not in content.table.columns and _Columns(content.table.columns).complete
        )
    return "detections" not in content.first and _Columns(map(str, content.first)).complete


def read_box_table(content: Content) -> pl.DataFrame:
    """Rows of one image, found anywhere in the file, as one row.

    Raises:
        InputError: a number that is none, a box without a score, or an image of no prompt.
    """
    rows: Iterable[Mapping[str, Any]]
    if content.table is not None:
        rows, columns = content.table.iter_rows(named=True), _Columns(content.table.columns)
    else:
        rows, columns = content.records or (), _Columns(map(str, content.first))
    names = PromptNames.of_table(content.prompts)
    images: dict[tuple[str, int], dict[str, Any]] = {}
    for number, row in enumerate(rows, 1):
        where = f"{content.name}, row {number}"
        key = _key(content, columns, names, row, where)
        image = images.setdefault(
            key,
            {
                "prompt_id": key[0],
                "sample": key[1],
                "image": row[columns.of["image"]] if columns.of["image"] else None,
                "status": SCORED,
                "detections": [],
                **{s: _side(row.get(c or ""), where) for s, c in columns.sides.items()},
            },
        )
        if (found := _detection(columns, row, where)) is not None:
            image["detections"].append(found)
    for image in images.values():
        image["detections"].sort(key=lambda d: -d["score"])
    return pl.DataFrame(list(images.values()), schema=FOUND)


def _key(
    content: Content, columns: _Columns, names: PromptNames, row: Mapping[str, Any], where: str
) -> tuple[str, int]:
    if columns.of["prompt_id"]:
        given = row[columns.of["sample"]] if columns.of["sample"] else 0
        try:
            sample = float(given)
            if not sample.is_integer():
                raise ValueError
            return id_text(row[columns.of["prompt_id"]], "prompt_id"), int(given)
        except (TypeError, ValueError) as error:
            said = (
                error
                if isinstance(error, InputError)
                else f"sample must be a whole number, got {given!r}"
            )
            raise InputError(f"{where}: {said}") from None
    prompt_id, sample_ = content.key(names, str(row[columns.of["image"] or ""]), where)
    return prompt_id, sample_ or 0


def _detection(columns: _Columns, row: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    label, numbers = row[columns.of["label"] or ""], [row[name] for name in columns.box]
    if _blank(label) and all(map(_blank, numbers)):
        return None
    score = row[columns.of["score"]] if columns.of["score"] else None
    if score is None or _blank(score):
        raise InputError(f"{where}: a box has no score (a column called score or confidence)")
    try:
        first, second, third, fourth = (float(value) for value in numbers)
        box = [first, second, third, fourth]
        if columns.sized:
            box = [first, second, first + third, second + fourth]
        return {"label": content_label(label), "score": float(score), "box": box}
    except (TypeError, ValueError):
        raise InputError(f"{where}: a box cannot be read ({dict(row)!r:.200})") from None


def _side(value: Any, where: str) -> int | None:
    if _blank(value):
        return None
    try:
        return int(float(value))
    except (TypeError, ValueError):
        raise InputError(
            f"{where}: an image's width and height are pixels, got {value!r}"
        ) from None


def _blank(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or not str(value).strip()


FORMATS.register("box-table")(
    DetectionFormat(_matches, read_box_table, "CSV or Parquet with one row per box")
)
