"""The reference of `run CONFIG`: every key, from the same fields that read the file."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from t2i_spatial.stages.config import PipelineSettings, section_of

_UNSET = re.compile(r"\s*\[default(?P<which>[^:\]]*): (?P<what>[^\]]*)\]")


def key_tables(model: type[BaseModel] = PipelineSettings) -> str:
    """Markdown: one table per section, with defaults, bounds and meanings."""
    parts = []
    plain = [name for name in model.model_fields if section_of(model, name) is None]
    parts.append(_table(model, plain))
    for name in model.model_fields:
        section = section_of(model, name)
        if section is not None:
            parts += _section(name, section)
    return "\n\n".join(part for part in parts if part)


def _section(name: str, section: type[BaseModel]) -> list[str]:
    """A heading with its table, and those of the sections within."""
    text = inspect.getdoc(section) or ""
    parts = [f"### `{name}`\n\n{text}\n\n{_table(section, list(section.model_fields))}"]
    for field in section.model_fields:
        inner = section_of(section, field)
        if inner is not None:
            parts += _section(f"{name}.{field}", inner)
    return parts


def _table(model: type[BaseModel], names: list[str]) -> str:
    rows = [_row(name, model.model_fields[name]) for name in names]
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])


def _row(name: str, field: FieldInfo) -> str:
    meaning = field.description or ""
    unset = _UNSET.search(meaning)
    meaning = _UNSET.sub("", meaning)
    default = _default(field)
    if unset and default in ("none", "`[]`"):
        # "[default of pairs: scop]" is one of two
        default = f"none;{unset['which']}: {unset['what']}" if unset["which"] else unset["what"]
    cells = [f"`{name}`", _kind(field), default, meaning]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value: Any = field.get_default(call_default_factory=True)
    if value in (None, "") or isinstance(value, BaseModel):
        return "none"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _kind(field: FieldInfo) -> str:
    """The kind of value in the words of YAML, with bounds."""
    text = str(field.annotation)
    if choices := re.search(r"typing\.Literal\[([^\]]*)\]", text):
        words = ", ".join(word.strip(" '") for word in choices[1].split(","))
        return f"number or {words}" if "int" in text else words
    if "tuple" in text:
        return "list"
    if "dict" in text or isinstance(field.default, BaseModel):
        return "mapping"
    if field.annotation is Path or "Path" in text:
        return "path"
    if "bool" in text:
        return "true or false"
    if "int" in text or "float" in text:
        kind = "whole number" if "int" in text else "number"
        return f"{kind}{_bounds(field)}"
    return "text"


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(entry, name):,}"
        for entry in field.metadata
        for name, sign in signs.items()
        if getattr(entry, name, None) is not None
    ]
    return f" {', '.join(found)}" if found else ""
