"""What all classes of settings share: a strict base, common kinds of values, option names.

A setting is declared once, as a field with bounds and a description. The options of the command
line, the keys of a config file, their reference and the JSON Schema all follow from that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

from t2i_spatial.locations import is_place, locate

DEFAULT_PROTOCOLS = ("visor", "spatial")
"""Judged unless others are named; the first one decides where one is needed."""

SHORT_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Short names of number formats, accepted wherever the long ones are."""


class Settings(BaseModel):
    """Base of all settings: unknown keys, infinite numbers and changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def names(self, field: str) -> bool:
        """Whether this field was set by name, even if to its default."""
        return field in self.model_fields_set


@dataclass(frozen=True)
class Option:
    """How a field is spelt on the command line where its name and type do not say it.

    Attributes:
        flags: the spellings; by default `--name`, without the plural s of a repeatable one.
        metavar: what help shows for the value.
        repeatable: whether a tuple is given one value at a time; else the field reads one text.
    """

    flags: tuple[str, ...] = ()
    metavar: str | None = None
    repeatable: bool = True


def dtype_name(value: Any) -> Any:
    """The long name of a number format.

    >>> dtype_name("fp16"), dtype_name("bfloat16")
    ('float16', 'bfloat16')
    """
    return SHORT_DTYPES.get(value, value) if isinstance(value, str) else value


def short_dtype(name: str) -> str:
    """The short name of a number format, as plans and weights files record it.

    >>> short_dtype("float16"), short_dtype("auto")
    ('fp16', 'auto')
    """
    return next((short for short, long in SHORT_DTYPES.items() if long == name), name)


def _batch_size(value: Any) -> Any:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if value == "auto" or (type(value) is int and 1 <= value <= 1_000_000):
        return value
    raise ValueError("expected a number above 0 (at most 1,000,000), or auto")


def _name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]+", value):
        return value
    raise ValueError("expected letters, digits, - and _ only")


TableName = Annotated[str, AfterValidator(_name)]
"""A name that becomes part of a file name."""


def _place(value: Any) -> Path:
    if is_place(value):
        return locate(value)
    raise ValueError("expected a path or a URL")


class Anywhere:
    """Mark of a setting that takes a URL as well as a path."""


Location = Annotated[
    Path,
    PlainValidator(_place),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "path"}),
    Anywhere(),
]
"""A setting that names a place: a path or a URL."""

Dtype = Annotated[Literal["float32", "bfloat16", "float16"], BeforeValidator(dtype_name)]
AutoDtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"], BeforeValidator(dtype_name)
]
BatchSize = Annotated[
    int | Literal["auto"], BeforeValidator(_batch_size), Option(metavar="INTEGER|auto")
]
