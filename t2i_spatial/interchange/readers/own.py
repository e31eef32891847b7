"""Our own Parquet tables and JSON lines, one row per image.

A record may name its image instead of a prompt and a sample, and a box may be a mapping as
transformers' pipelines give it (`{"xmin", "ymin", "xmax", "ymax"}`).
"""

from __future__ import annotations

from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.interchange.readers import FORMATS, FOUND, Content, DetectionFormat
from t2i_spatial.prompts.readers import id_text
from t2i_spatial.tables import DETECTIONS, SCORED

_BOX_KEYS = {"label", "score", "box", "color", "depth"}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_own(content: Content) -> pl.DataFrame:
    """Rows as they are; see `check_detections` for the values."""
    if content.table is not None:
        return content.table
    names: PromptNames | None = None
    rows = []
    for number, record in enumerate(content.records or (), 1):
        where = f"{content.name}, record {number}"
        if not isinstance(record, dict):
            raise InputError(f"{where}: expected a JSON object, got {type(record).__name__}")
        named = isinstance(record.get("image"), str) and "prompt_id" not in record
        if named and not set(record) - set(DETECTIONS):
            names = names or PromptNames.of_table(content.prompts)
            prompt_id, sample = content.key(names, record["image"], where)
            record = {"prompt_id": prompt_id, "sample": sample or 0, **record}
        rows.append(_row(record, where, content))
    try:
        return pl.DataFrame(rows, schema=FOUND)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{content.name}: {str(error).splitlines()[0]}") from None


def _row(record: dict[str, Any], where: str, content: Content) -> dict[str, Any]:
    if record.get("prompt_id", "") is None:
        raise InputError(f"{where}: prompt_id is null")
    if set(record) - set(DETECTIONS) or not {"prompt_id", "sample"} <= set(record):
        raise InputError(
            f"{where}: expected the keys prompt_id, sample, detections and optionally image, "
            f"width, height, status, reason; got {sorted(record)}"
        )
    sample = record["sample"]
    if isinstance(sample, float) and sample.is_integer():
        sample = int(sample)
    if isinstance(sample, bool) or not isinstance(sample, int):
        raise InputError(f"{where}: sample must be a whole number, got {record['sample']!r}")
    try:
        prompt_id = id_text(record["prompt_id"], "prompt_id")
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    row = {"status": SCORED, **record, "prompt_id": prompt_id, "sample": sample}
    if record.get("detections") is not None:
        row["detections"] = [_box(entry, where, content) for entry in record["detections"]]
    return row


def _box(entry: dict[str, Any], where: str, content: Content) -> dict[str, Any]:
    """One detection with its numbers as floats: JSON writes 3.0 as 3."""
    try:
        unknown = set(entry) - _BOX_KEYS
        if unknown:
            raise InputError(f"{where}: unknown key {sorted(unknown)[0]!r} in a detection")
        depth, score, box = entry.get("depth"), entry.get("score"), entry.get("box") or ()
        if isinstance(box, dict):
            box = [box[side] for side in _CORNERS]
        return {
            "label": content_label(entry.get("label")),
            "score": None if score is None else float(score),
            "box": [float(v) for v in box],
            "color": entry.get("color"),
            "depth": None if depth is None else float(depth),
        }
    except (TypeError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: a detection cannot be read ({entry!r})") from None


def content_label(label: Any) -> Any:
    """A class number as text: what it means is found out with all labels together."""
    whole = isinstance(label, int | float) and not isinstance(label, bool)
    return str(int(label)) if whole and float(label).is_integer() else label


def _matches(content: Content) -> bool:
    return content.records is not None or content.table is not None


FORMATS.register("t2i-spatial")(
    DetectionFormat(_matches, read_own, "own JSON lines or Parquet", fallback=True)
)
