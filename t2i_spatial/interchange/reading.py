"""Reading a file of detections, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.checks import check_detections
from t2i_spatial.errors import InputError
from t2i_spatial.files import read_json as read_json
from t2i_spatial.files import read_json_lines as read_json_lines
from t2i_spatial.files import read_table
from t2i_spatial.interchange.coco import from_coco, is_coco, is_coco_results
from t2i_spatial.interchange.geneval import from_geneval, is_geneval
from t2i_spatial.interchange.visor import from_visor, is_visor
from t2i_spatial.tables import DETECTIONS, SCORED

_BOX_KEYS = {"label", "score", "box", "color", "depth"}


def read_detections(
    path: str | Path, prompts: pl.DataFrame, *, coco_images: str | Path | None = None
) -> pl.DataFrame:
    """A DETECTIONS table from a file of any known format, recognised by its content.

    Our own Parquet or JSON lines, COCO (a data set with annotations, or a results list with
    `coco_images`), VISOR's `results_*.json`, and GenEval's `results.jsonl`.

    Args:
        path: the file.
        prompts: PROMPTS, to tell which prompt an image of a foreign format belongs to.
        coco_images: the COCO file with the images and categories of a results list.

    An empty file gives an empty table.

    Raises:
        InputError: no such file, an unknown format, a broken line (says which), or wrong values
            (see `check_detections`).
    """
    path = Path(path)
    try:
        table = _read(path, prompts, coco_images)
    except InputError:
        raise
    except (
        LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        # a record of another shape than its format says, somewhere in the file
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{path.name}: a record is not as its format wants it ({said})") from None
    return check_detections(table, path.name)


def _read(path: Path, prompts: pl.DataFrame, coco_images: str | Path | None) -> pl.DataFrame:
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if is_visor(content):
            return from_visor(content, prompts, path.name)
        if is_coco_results(content):
            if coco_images is None:
                raise InputError(
                    f"{path.name} is a list of COCO results; give the file with their images and "
                    "categories too (--coco-images)"
                )
            return from_coco(read_json(Path(coco_images)), prompts, path.name, content)
        if is_coco(content):
            return from_coco(content, prompts, path.name)
        if isinstance(content, list):
            return own_lines(path, content)
        raise InputError(
            f"{path.name}: not a known format (own JSON lines or Parquet, COCO, VISOR's "
            "results_*.json, GenEval's results.jsonl)"
        )
    records = read_json_lines(path)
    if records and is_geneval(records[0]):
        return from_geneval(records, prompts, path.name)
    return own_lines(path, records)


def own_lines(path: Path, records: list[dict[str, Any]]) -> pl.DataFrame:
    """Records of our own format as a table; see `check_detections` for the values."""
    rows = []
    for number, record in enumerate(records, 1):
        where = f"{path.name}, record {number}"
        unknown = set(record) - set(DETECTIONS)
        if record.get("prompt_id", "") is None:
            raise InputError(f"{where}: prompt_id is null")
        if unknown or not {"prompt_id", "sample"} <= set(record):
            raise InputError(
                f"{where}: expected the keys prompt_id, sample, detections and optionally image, "
                f"width, height, status, reason; got {sorted(record)}"
            )
        row = {"status": SCORED, **record, "prompt_id": str(record["prompt_id"])}
        if record.get("detections") is not None:
            row["detections"] = [_own_box(entry, where) for entry in record["detections"]]
        rows.append(row)
    try:
        return pl.DataFrame(rows, schema=DETECTIONS)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise InputError(f"{path.name}: {str(error).splitlines()[0]}") from None


def _own_box(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """One detection with its numbers as floats: JSON writes 3.0 as 3."""
    try:
        unknown = set(entry) - _BOX_KEYS
        if unknown:
            raise InputError(f"{where}: unknown key {sorted(unknown)[0]!r} in a detection")
        depth, score = entry.get("depth"), entry.get("score")
        return {
            "label": entry.get("label"),
            "score": None if score is None else float(score),
            "box": [float(v) for v in entry.get("box") or ()],
            "color": entry.get("color"),
            "depth": None if depth is None else float(depth),
        }
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: a detection cannot be read ({entry!r})") from None


def _parquet(path: Path) -> pl.DataFrame:
    return read_table(path)
