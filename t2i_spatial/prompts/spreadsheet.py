"""CSV and TSV as spreadsheets, pandas and benchmark makers write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from t2i_spatial.errors import InputError

DELIMITERS = (",", "\t", ";", "|")
_FIELD_LIMIT = 10_000_000
_UNUSED = "\x1f"
"""A delimiter that stands in no text: tables of one column have none."""

Row = tuple[int, list[str]]
"""The line a row begins in, and its fields."""


def read_rows(
    path: Path, text: str, *, delimiter: str | None = None, tabs_first: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table under its header, each with the number of its first line.

    The delimiter is the one that gives every row as many fields as the header, comma (or tab, with
    `tabs_first`) before semicolon before bar; Excel's `sep=;` line names it too. Quotation marks
    enclose fields, unless that cannot be: then they are part of the text, as in TSV files whose
    fields begin with a quoted word. Blank rows, blank fields beyond the header and columns without
    a name are dropped.

    Raises:
        InputError: fields that do not fit the header, a field that does not end, or two columns
            of one name (says in which line).
    """
    first, lines_before = text.partition("\n")[0].strip(), 0
    if first[:4].lower() == "sep=" and len(first) == 5:
        delimiter, lines_before = delimiter or first[4], 1
        text = text.partition("\n")[2]
    rows = _best(path, text, delimiter, tabs_first, lines_before)
    if not rows:
        return
    header = [name.strip() for name in rows[0][1]]
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise InputError(f"{path}: two columns are called {twice!r}")
    for line, fields in rows[1:]:
        yield line, {n: f for n, f in zip(header, fields, strict=False) if n}


def _best(
    path: Path, text: str, delimiter: str | None, tabs_first: bool, lines_before: int
) -> list[Row]:
    order = sorted(DELIMITERS, key=lambda sign: (sign != "\t", 0)) if tabs_first else DELIMITERS
    header = next((line for line in text.split("\n") if line.strip()), "")
    present = [delimiter] if delimiter else [sign for sign in order if sign in header]
    if not present:
        return list(_single(text, lines_before))
    problem: InputError | None = None
    for sign in present:
        try:
            return _even(path, text, sign, lines_before)
        except InputError as error:
            problem = problem or error
    raise problem or InputError(f"{path}: not a table")


def _single(text: str, lines_before: int) -> Iterator[Row]:
    """A table of one column, whose texts may hold any sign; quoted ones are unquoted."""
    try:
        rows = list(_parsed(text, _UNUSED, True, lines_before))
    except csv.Error:
        rows = list(_parsed(text, _UNUSED, False, lines_before))
    yield from (row for row in rows if any(field.strip() for field in row[1]))


def _even(path: Path, text: str, delimiter: str, lines_before: int) -> list[Row]:
    """Rows of as many fields as the header, quotation marks read in the way that gives them."""
    problem = None
    quoted: list[Row] | None = None
    try:
        quoted = _fitted(path, _parsed(text, delimiter, True, lines_before))
    except InputError as error:
        problem = error
    except csv.Error as error:
        line = lines_before + _broken_line(text, delimiter)
        problem = InputError(f"{path}, line {line}: not valid CSV: {error}")
    if quoted is not None and not any("\n" in field for _, row in quoted for field in row):
        return quoted
    try:  # a field with a line end in it may be two rows whose quotation marks are text
        return _fitted(path, _parsed(text, delimiter, False, lines_before))
    except InputError:
        if quoted is not None:
            return quoted
    assert problem is not None
    raise problem


def _parsed(text: str, delimiter: str, quoted: bool, lines_before: int) -> Iterator[Row]:
    csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    before = 0
    for fields in reader:
        yield lines_before + before + 1, fields
        before = reader.line_num


def _broken_line(text: str, delimiter: str) -> int:
    """The first line of the row that cannot be read."""
    begins = 1
    rows = _parsed(text, delimiter, True, 0)
    while True:
        try:
            line, fields = next(rows)
        except (csv.Error, StopIteration):
            return begins
        begins = line + 1 + sum(field.count("\n") for field in fields)


def _fitted(path: Path, rows: Iterator[Row]) -> list[Row]:
    """Rows cut to the width of the header.

    Raises:
        InputError: one is longer or shorter.
    """
    result: list[Row] = []
    width = 0
    for line, fields in rows:
        if not any(field.strip() for field in fields):
            continue
        width = width or len(fields)
        if len(fields) > width and not any(field.strip() for field in fields[width:]):
            fields = fields[:width]
        if len(fields) != width:
            raise InputError(
                f"{path}, line {line}: not as many fields as the header names "
                f"({len(fields)} and {width}); put texts with a delimiter in them in quotation "
                "marks"
            )
        result.append((line, fields))
    return result
