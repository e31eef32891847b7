"""YAML of users: plain values only, of a bounded size, and errors of one line."""

from __future__ import annotations

from typing import Any

import yaml

from t2i_spatial.errors import InputError

MOST_VALUES = 100_000
"""Values after every alias is written out: a few lines of aliases can stand for gigabytes."""


def read_yaml(text: str, what: str) -> Any:
    """The value of a YAML text; `what` names it in errors.

    >>> read_yaml("{a: [1, no]}", "the example")
    {'a': [1, False]}

    Raises:
        InputError: not YAML, a tag that asks for an object, nested too deeply, or aliases that
            stand for more than `MOST_VALUES` values.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{what} is not YAML: {error.problem}{place}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{what} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InputError(f"{what} is nested too deeply") from None
    except ValueError as error:  # such as the date 2024-13-45
        raise InputError(f"{what} is not YAML: {error}") from None
    _count(value, what)
    return value


def _count(root: Any, what: str) -> None:
    """Refuse loops and what grows too large, looking at every shared part once."""
    sizes: dict[int, int] = {}
    open_parts: set[int] = set()

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        key = id(value)
        if key in open_parts:
            raise InputError(f"{what} contains itself: an alias stands inside its own anchor")
        if key not in sizes:
            open_parts.add(key)
            parts = value.values() if isinstance(value, dict) else value
            sizes[key] = 1 + sum(map(size, parts))
            open_parts.discard(key)
        if sizes[key] > MOST_VALUES:
            raise InputError(f"{what} stands for more than {MOST_VALUES:,} values")
        return sizes[key]

    try:
        size(root)
    except RecursionError:
        raise InputError(f"{what} is nested too deeply") from None
