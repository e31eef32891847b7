"""Reading a file of detections, whatever its format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.checks import check_detections
from t2i_spatial.tables import DETECTIONS


def read_detections(path: str | Path, prompts: pl.DataFrame) -> pl.DataFrame:
    """A DETECTIONS table from our own Parquet or JSON lines.

    Args:
        path: the file.
        prompts: PROMPTS, to tell which prompt an image of a foreign format belongs to.

    An empty file gives an empty table.

    Raises:
        InputError: no such file, an unknown format, a broken line (says which), or wrong values
            (see `check_detections`).
    """
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        table = _parquet(path)
    else:
        table = own_lines(path, read_json_lines(path))
    return check_detections(table, path.name)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; blank lines are skipped.

    Raises:
        InputError: no such file, not UTF-8, or a line that is not a JSON object (says which).
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(record, dict):
            raise InputError(f"{path}, line {number}: expected a JSON object")
        records.append(record)
    return records


def own_lines(path: Path, records: list[dict[str, Any]]) -> pl.DataFrame:
    """Records of our own format as a table (unchecked values, checked keys)."""
    for number, record in enumerate(records, 1):
        unknown = set(record) - set(DETECTIONS)
        if unknown or not {"prompt_id", "sample"} <= set(record):
            raise InputError(
                f"{path}, record {number}: expected the keys prompt_id, sample, detections and "
                f"optionally image, width, height, status, reason; got {sorted(record)}"
            )
        record["prompt_id"] = str(record["prompt_id"])
        record.setdefault("status", "scored")
    try:
        return pl.DataFrame(records, schema=DETECTIONS)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None


def _parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from None
