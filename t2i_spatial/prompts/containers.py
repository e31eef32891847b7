"""Prompt files as records: JSON lines, JSON, CSV, TSV, Parquet and plain text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError

Located = tuple[str, int, Any]
"""Where a record stands (for messages), its 0-based number, and the record."""


def read_text(path: Path) -> str:
    """A UTF-8 text file; a byte order mark is dropped.

    Raises:
        InputError: missing, unreadable, or not UTF-8 (says in which line).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such prompt file: {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: not UTF-8 text (byte 0x{data[error.start]:02x}); "
            "save the file as UTF-8"
        ) from None


def read_records(path: Path) -> Iterator[Located]:
    """The records of a file; the suffix decides the container, or else the first character.

    Plain text gives one record `{"text": line}` per line.

    Raises:
        InputError: the file is missing, not UTF-8, or broken (says in which line).
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet(path)
        return
    text = read_text(path)
    start = text.lstrip()[:1]
    if suffix in (".csv", ".tsv"):
        yield from _table(path, text, "\t" if suffix == ".tsv" else ",")
    elif suffix in (".jsonl", ".ndjson") or (start == "{" and suffix != ".json"):
        yield from _json_lines(path, text)
    elif suffix == ".json" or start == "[":
        yield from _json(path, text)
    else:
        yield from plain_lines(path, text)


def plain_lines(path: Path, text: str) -> Iterator[Located]:
    """One record per line; blank lines at the end of the file are dropped, others are refused."""
    # not splitlines(): a prompt may hold U+2028, form feeds and the like
    lines = text.rstrip().split("\n") if text.strip() else []
    for number, line in enumerate(lines):
        yield f"{path}, line {number + 1}", number, {"text": line.strip()}


def _json_lines(path: Path, text: str) -> Iterator[Located]:
    # not splitlines(): JSON text may hold U+2028 and the like unescaped
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            where = f"{path}, line {number + 1}"
            yield where, number, _json_line(where, line)


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
    if not isinstance(data, list):
        data = [data]
    for number, record in enumerate(data):
        yield f"{path}, record {number + 1}", number, record


def _table(path: Path, text: str, delimiter: str) -> Iterator[Located]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for number, row in enumerate(reader):
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise InputError(f"{where}: not as many fields as the header names")
            yield where, number, row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from None


def _parquet(path: Path) -> Iterator[Located]:
    import polars as pl

    if not path.is_file():
        raise InputError(f"no such prompt file: {path}")
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from None
    for number, row in enumerate(table.iter_rows(named=True)):
        yield f"{path}, row {number + 1}", number, row
