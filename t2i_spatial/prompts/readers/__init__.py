"""Record formats of prompt files, one module each.

A container (JSON lines, JSON, CSV, Parquet, plain text, a `datasets` data set) yields records; a
format turns one record into a `Prompt`. Formats may be mixed in one file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.registry import Registry
from t2i_spatial.scene import Prompt

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How records of one kind are recognised and read.

    Attributes:
        matches: whether a record is of this kind; the kinds exclude each other.
        read: record and its 0-based number in the file -> prompt.
        fallback: asked only when no other format matches.
    """

    matches: Callable[[Record], bool]
    read: Callable[[Record, int], Prompt]
    fallback: bool = False


FORMATS: Registry[PromptFormat] = Registry(
    "prompt format", "t2i_spatial.prompts.readers", instance=PromptFormat
)


def find_format(record: Record) -> PromptFormat:
    """The format that a record is written in.

    Raises:
        InputError: none of the known ones.
    """
    for fallback in (False, True):
        for name in FORMATS:
            candidate = FORMATS[name]
            if candidate.fallback is fallback and candidate.matches(record):
                return candidate
    raise InputError(
        f"a record of no known prompt format (keys: {', '.join(map(str, record)) or 'none'}); "
        f"known formats: {', '.join(FORMATS)}"
    )


def text_of(record: Record, key: str) -> str:
    """The prompt text under `key`, which must be there and not blank.

    Raises:
        InputError: missing, not text, or empty.
    """
    text = record.get(key)
    if not isinstance(text, str):
        raise InputError(f"the prompt text under {key!r} must be text, got {text!r}")
    if not text.strip():
        raise InputError("an empty prompt")
    return text


def own_id(record: Record, number: int, *keys: str) -> str:
    """The id that a record brings under one of `keys` ("id" by default), else `numbered`.

    Raises:
        InputError: an id that is neither text nor a whole number.
    """
    for key in keys or ("id",):
        value = record.get(key)
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            return id_text(value, key)
    return numbered(number)


def id_text(value: Any, key: str = "id") -> str:
    """An id as text: text without blanks around it, or a whole number (1.0 of a spreadsheet is 1).

    >>> id_text(" a 7"), id_text(3), id_text(3.0)
    ('a 7', '3', '3')

    Raises:
        InputError: anything else, or a blank text.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{key} must be text or a whole number, got {json.dumps(value, default=str)}")


def numbered(number: int) -> str:
    """The id of a record that has none: five digits from 00000, as GenEval names its folders.

    >>> numbered(42)
    '00042'
    """
    return f"{number:05d}"
