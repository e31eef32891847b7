"""Prompt files as records: JSON lines, JSON, CSV, TSV, Parquet, plain text and folders of texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.incoming import read_text as read_any_text
from t2i_spatial.numbering import natural_key
from t2i_spatial.prompts.spreadsheet import read_rows

Located = tuple[str, int, Any]
"""Where a record stands (for messages), its 0-based number, and the record."""

LISTS = ("prompts", "rows", "data", "records", "annotations", "captions")
"""Keys under which a JSON object may hold its list of records, in order of preference."""


def read_text(path: Path) -> str:
    """A text file of prompts; see `incoming.read_text`.

    Raises:
        InputError: missing, unreadable, or not UTF-8 (says in which line).
    """
    return read_any_text(path, "prompt file")


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its name or its first bytes."""
    if path.suffix.lower() == ".parquet":
        return True
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(4) == b"PAR1"
    except OSError:
        return False


def read_records(path: Path, *, delimiter: str | None = None) -> Iterator[Located]:
    """The records of a file; the suffix decides the container, or else the first character.

    Plain text gives one record `{"text": line}` per line.

    Raises:
        InputError: the file is missing, not UTF-8, or broken (says in which line).
    """
    suffix = path.suffix.lower()
    if path.is_file() and is_parquet(path):
        yield from _parquet(path)
        return
    if suffix == ".parquet":
        raise InputError(f"no such prompt file: {path}")
    text = read_text(path)
    start = text.lstrip()[:1]
    if suffix in (".csv", ".tsv", ".tab") or delimiter is not None:
        rows = read_rows(path, text, delimiter=delimiter, tabs_first=suffix != ".csv")
        for number, (line, row) in enumerate(rows):
            yield f"{path}, line {line}", number, row
    elif suffix in (".jsonl", ".ndjson") or (start == "{" and suffix != ".json"):
        yield from _json_lines(path, text)
    elif suffix == ".json" or start == "[":
        yield from _json(path, text)
    else:
        yield from plain_lines(path, text)


def plain_lines(path: Path, text: str) -> Iterator[Located]:
    """One record per line; blank lines at the end of the file are dropped, others are refused."""
    # not splitlines(): a prompt may hold U+2028, form feeds and the like
    sign = "\n" if "\n" in text else "\r"
    lines = text.rstrip().split(sign) if text.strip() else []
    for number, line in enumerate(lines):
        yield f"{path}, line {number + 1}", number, {"text": line.strip()}


def is_text_folder(folder: Path) -> bool:
    """Whether a folder holds prompts as `.txt` files and nothing else."""
    names = [p.suffix.lower() for p in folder.iterdir() if not p.name.startswith(".")]
    return bool(names) and set(names) == {".txt"}


def folder_records(folder: Path) -> Iterator[Located]:
    """The prompts of a folder of text files in the natural order of their names.

    A file of one line is a prompt whose id is the file's name without its ending; of a file with
    several lines, each is a prompt `<name>_<line from 0>` with the name as tag.

    Raises:
        InputError: a file that is no text, or an empty one.
    """
    number = 0
    files = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    for path in files:
        if path.name.startswith("."):
            continue
        lines = list(plain_lines(path, read_text(path)))
        if not lines:
            raise InputError(f"{path}: an empty prompt")
        for where, line, record in lines:
            own = {"id": path.stem}
            if len(lines) > 1:
                own = {"id": f"{path.stem}_{line}", "tag": path.stem}
            yield where, number, {**record, **own}
            number += 1


def _json_lines(path: Path, text: str) -> Iterator[Located]:
    # not splitlines(): JSON text may hold U+2028 and the like unescaped
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            where = f"{path}, line {number + 1}"
            yield where, number, _as_record(_json_line(where, line))


def _json_line(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not valid JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        # numbers of thousands of digits, brackets nested thousands deep
        raise InputError(f"{where}: not readable JSON: {error}") from None


def _json(path: Path, text: str) -> Iterator[Located]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            yield from _json_lines(path, text)
            return
        raise InputError(
            f"{path}, line {error.lineno}: not valid JSON: {error.msg} (column {error.colno})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON: {error}") from None
    for number, record in enumerate(_listed(data)):
        yield f"{path}, record {number + 1}", number, _as_record(record)


def _listed(data: Any) -> list[Any]:
    """The records of a JSON document: a list, one record, records by id, or a list inside."""
    if isinstance(data, list):
        return data
    if not isinstance(data, dict) or _is_record(data):
        return [data]
    for key in LISTS:
        if isinstance(data.get(key), list) and data[key]:
            return list(data[key])
    if data and all(isinstance(value, str) for value in data.values()):
        return [{"id": key, "text": value} for key, value in data.items()]
    if data and all(isinstance(value, dict) and _is_record(value) for value in data.values()):
        return [{"id": key, **value} for key, value in data.items()]
    return [data]


def _is_record(data: dict[str, Any]) -> bool:
    from t2i_spatial.prompts.readers import FORMATS

    return any(FORMATS[name].matches(data) for name in FORMATS)


def _as_record(record: Any) -> Any:
    """A bare text as a record, and a row of the hub's viewer without its frame."""
    if isinstance(record, str):
        return {"text": record}
    if isinstance(record, dict) and "row_idx" in record and isinstance(record.get("row"), dict):
        return record["row"]
    return record


def _parquet(path: Path) -> Iterator[Located]:
    import polars as pl

    try:
        with path.open("rb") as file:
            table = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from None
    for number, row in enumerate(table.iter_rows(named=True)):
        yield f"{path}, row {number + 1}", number, row
