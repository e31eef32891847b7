"""Filters as text: on the command line, in YAML files, and as a list for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2i_spatial.curation.filter import FILTERS, make_filters
from t2i_spatial.errors import InputError
from t2i_spatial.incoming import read_text
from t2i_spatial.yaml_text import read_yaml


def parse_filter(text: str) -> dict[str, Any]:
    """A filter definition from the command line.

    >>> parse_filter("score:minimum=0.5")
    {'filter': 'score', 'minimum': 0.5}
    >>> parse_filter("balance:over=[relation,order],ratio=2")
    {'filter': 'balance', 'over': ['relation', 'order'], 'ratio': 2}
    >>> parse_filter("{filter: balance, over: [relation, order]}")
    {'filter': 'balance', 'over': ['relation', 'order']}

    Raises:
        InputError: neither NAME, NAME:KEY=VALUE nor a YAML mapping, or a wrong filter.
    """
    if text.lstrip().startswith("{"):
        definition = read_yaml(text, f"filter {text!r}")
    else:
        name, _, rest = text.partition(":")
        definition = {"filter": name.strip()}
        # a comma inside brackets belongs to a list
        for part in re.split(r",(?![^\[]*\])", rest) if rest else ():
            key, separator, value = part.partition("=")
            if not separator:
                raise InputError(f"filter {text!r}: {part!r} is not of the form KEY=VALUE")
            definition[key.strip()] = read_yaml(value, f"filter {text!r}: {value!r}")
    make_filters([definition])
    return dict(definition)


def read_pipeline(path: str | Path) -> list[dict[str, Any]]:
    """Filter definitions from a YAML file: a list of names and mappings `{filter: name, ...}`.

    Raises:
        InputError: no such file, not YAML, not a list, or a wrong entry (says which).
    """
    data = read_yaml(read_text(path), str(path))
    if isinstance(data, Mapping) and set(data) == {"filters"}:
        data = data["filters"]
    if not isinstance(data, list) or not data:
        raise InputError(f"{path} must be a list of filters, got {type(data).__name__}")
    for number, definition in enumerate(data, 1):
        try:
            make_filters([definition])
        except InputError as error:
            raise InputError(f"{path}, filter {number}: {error}") from None
    return [{"filter": entry} if isinstance(entry, str) else dict(entry) for entry in data]


def describe_filters() -> str:
    """Every filter with its parameters, their defaults and what it keeps, for a person."""
    lines = []
    for name in FILTERS:
        kind = FILTERS[name]
        parameters = ", ".join(
            key if field.is_required() else f"{key}={field.default!r}"
            for key, field in kind.model_fields.items()
        )
        lines.append(f"{name}({parameters})")
        lines += [f"    {text}" for text in (kind.__doc__ or "").strip().splitlines()[:1]]
    return "\n".join(lines)
