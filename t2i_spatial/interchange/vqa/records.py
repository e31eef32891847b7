"""What the readers share: records of any container, fields, pictures, right answers."""

from __future__ import annotations

import base64
import binascii
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.vqa import Item
from t2i_spatial.prompts.containers import Located, read_records
from t2i_spatial.questions import LETTER, LETTERS, Question

LONGEST_FIELD = 2**30
"""Characters of one field: tables for evaluation kits hold pictures in base64."""
REFERENCE = 64
"""A picture field of at most so many characters is the index of the row that holds the picture."""


def files_of(place: Path, title: str, *patterns: str) -> list[Path]:
    """`place` itself if it is a file, else the files in the folder that fit the patterns.

    Raises:
        InputError: there is none.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise InputError(f"no such file or folder: {place}")
    found = [path for pattern in patterns for path in sorted(place.glob(pattern))]
    if not found:
        raise InputError(f"{place} holds no file of {title} ({', '.join(patterns)})")
    return list(dict.fromkeys(found))


def records(path: Path) -> Iterator[Located]:
    """(where, 0-based number, record) of a file; tables are read row by row.

    Raises:
        InputError: the file is broken (says in which line).
    """
    if path.suffix.lower() not in (".tsv", ".csv"):
        yield from read_records(path)
        return
    csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            for number, row in enumerate(rows):
                yield f"{path}, row {number + 1}", number, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no readable table: {error}") from None


def given(record: Any, where: str, *names: str) -> Any:
    """The first of the named fields that is there and not empty.

    Raises:
        InputError: none is.
    """
    value = maybe(record, *names)
    if value is None:
        keys = ", ".join(map(str, record)) if isinstance(record, Mapping) else type(record).__name__
        raise InputError(f"{where}: no {' or '.join(map(repr, names))} (it has: {keys})")
    return value


def maybe(record: Any, *names: str) -> Any:
    """Like `given`, `None` if none is there; "nan", as pandas writes an empty field, is none."""
    if not isinstance(record, Mapping):
        return None
    for name in names:
        value = record.get(name)
        empty = isinstance(value, str) and value.strip().lower() in ("", "nan")
        if value is not None and value == value and not empty:
            return value
    return None


def options_of(record: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The options of a record: a list, a mapping of letters, or columns A, B, C, ...

    Raises:
        InputError: fewer than two.
    """
    listed = maybe(record, "choices", "options")
    if isinstance(listed, str):
        try:
            listed = json.loads(listed)
        except ValueError:
            raise InputError(f"{where}: options that are no list: {listed[:80]!r}") from None
    if isinstance(listed, Mapping):
        listed = [listed[key] for key in sorted(listed)]
    if listed is None:
        columns = (maybe(record, c, f"option_{c.lower()}", f"option_{c}") for c in LETTERS)
        listed = [value for value in columns if value is not None]
    options = tuple(_unlettered(str(option), k) for k, option in enumerate(listed))
    if len(options) < 2:
        raise InputError(f"{where}: a choice of {len(options)} options")
    return options


def choice(
    where: str, text: str, options: Sequence[str], answer: Any, skill: str | None
) -> Question:
    """A multiple-choice question; `answer` is "B", "(B)", "B." or the text of an option.

    Raises:
        InputError: it means none of the options, or the question is none.
    """
    return checked(
        where,
        text=text,
        kind="choice",
        options=tuple(options),
        gold=letter_of(answer, options, where),
        skill=skill,
        template=LETTER.name,
    )


def checked(where: str, **fields: Any) -> Question:
    """A question; what is wrong with it is told with the place it stands at."""
    try:
        return Question(**fields)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def letter_of(answer: Any, options: Sequence[str], where: str) -> str:
    """The letter that a right answer means.

    >>> letter_of("(b)", ["left", "right"], "line 1")
    'B'

    Raises:
        InputError: it is none of the options.
    """
    said = str(answer).strip()
    texts = [option.strip().lower() for option in options]
    if texts.count(said.lower()) == 1:
        return LETTERS[texts.index(said.lower())]
    found = re.fullmatch(r"\(?([A-Za-z])[).:]*", said)
    if found and found[1].upper() in LETTERS[: len(options)]:
        return found[1].upper()
    known = ", ".join(f"{LETTERS[k]} {option!r}" for k, option in enumerate(options))
    raise InputError(f"{where}: the right answer {said!r} is none of the options ({known})")


def inside(name: Any, where: str) -> PurePosixPath:
    """The path of a picture as a set names it.

    Raises:
        InputError: it leads out of the folder.
    """
    path = PurePosixPath(str(name).replace("\\", "/"))
    drive = re.match(r"[A-Za-z]:", str(path))
    if path.is_absolute() or ".." in path.parts or drive:
        raise InputError(f"{where}: the picture {str(name)!r} leads out of the folder of the set")
    return path


def first_there(path: PurePosixPath, roots: Sequence[Path]) -> Path:
    """The picture below the first of `roots` that has it; where it should be if none has."""
    return next((root / path for root in roots if (root / path).is_file()), roots[0] / path)


def roots_of(file: Path, place: Path, *folders: str) -> list[Path]:
    """Where the pictures of an annotation file may lie: in `folders` beside it or further up.

    Not above the folder that was named, and at most three levels up from a file that was.
    """
    above = [file.parent, *list(file.parent.parents)[:3]]
    if place.is_dir():
        above = [folder for folder in above if folder.is_relative_to(place)] or [place]
    return [root / folder for root in above for folder in (*folders, "")]


class Base64Pictures:
    """Pictures in a table: in base64, once each; other rows name the index of that row."""

    def __init__(self) -> None:
        self._by_index: dict[str, bytes] = {}
        self._by_content: dict[bytes, bytes] = {}

    def of(self, index: str, field: str, where: str) -> bytes:
        """The bytes of a row's picture.

        Raises:
            InputError: it is not base64, or the row that it names has not been read.
        """
        if len(field) <= REFERENCE:
            if field not in self._by_index:
                raise InputError(f"{where}: its picture is that of row {field!r}, not read so far")
            return self._by_index[field]
        try:
            data = base64.b64decode(field, validate=True)
        except (binascii.Error, ValueError):
            raise InputError(f"{where}: its picture is not base64") from None
        data = self._by_content.setdefault(data, data)
        self._by_index[index] = data
        return data


def once(items: Sequence[Item], title: str) -> list[Item]:
    """The items, when there are any and every id is there once.

    Raises:
        InputError: none, or an id twice.
    """
    if not items:
        raise InputError(f"no question of {title} was found")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise InputError(f"{title}: the id {item.id!r} is there twice")
        seen.add(item.id)
    return list(items)


def _unlettered(option: str, number: int) -> str:
    """An option without the letter before it, if it has the one of its place."""
    found = re.match(r"\s*\(?([A-Za-z])[).:]\s+", option)
    if found and found[1].upper() == LETTERS[number : number + 1]:
        return option[found.end() :]
    return option.strip()
