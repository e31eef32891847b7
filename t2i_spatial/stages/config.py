"""A whole run from one file: the sections of `run CONFIG`, how they are read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.errors import InputError, nearest
from t2i_spatial.incoming import read_text
from t2i_spatial.locations import locate
from t2i_spatial.settings import Location, Settings
from t2i_spatial.stages.ask_settings import AskSettings
from t2i_spatial.stages.stage_settings import (
    CurateSettings,
    DetectSettings,
    GenerateSettings,
    ImportSettings,
    PromptSettings,
    ReportSettings,
    ScoreSettings,
)
from t2i_spatial.training.hyperparameters import FinetuneSettings
from t2i_spatial.yaml_text import read_yaml

SHOWN = 80
"""Characters of a wrong value that a message repeats."""


class PipelineSettings(Settings):
    """Settings of a whole run, one section per stage.

    `report` may be left out with `null`; `images` replaces `generate`; `ask`, `curate` and
    `finetune` are done when their section is there, be it empty (`{}`).
    """

    output: Location = Field(description="Run directory.")
    prompts: PromptSettings = PromptSettings()
    engine: EngineSettings = EngineSettings()
    generate: GenerateSettings | None = None
    images: ImportSettings | None = None
    detect: DetectSettings = DetectSettings()
    ask: AskSettings | None = None
    score: ScoreSettings = ScoreSettings()
    curate: CurateSettings | None = None
    finetune: FinetuneSettings | None = None
    report: ReportSettings | None = ReportSettings()


Model = TypeVar("Model", bound=BaseModel)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> PipelineSettings:
    """Settings from a YAML or TOML file; `overrides` are `section.key=value` (YAML values).

    Raises:
        InputError: an unreadable file, or naming every wrong key and value.
    """
    return load_settings(PipelineSettings, path, overrides)


def load_settings(model: type[Model], path: str | Path, overrides: Sequence[str] = ()) -> Model:
    """Any settings from a YAML or TOML file, a pipe or "-" (stdin), as `load_config`.

    Raises:
        InputError: an unreadable file, or naming every wrong key and value.
    """
    path = locate(path)
    text = read_text(path, "config file")
    if path.suffix.lower() == ".toml":
        try:
            data = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise InputError(f"{path} cannot be read: {error}") from None
    else:
        data = read_yaml(text, str(path))
    if not isinstance(data, dict):
        raise InputError(f"{path} must be a mapping of sections ({', '.join(model.model_fields)})")
    for override in overrides:
        _override(data, override)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = dict.fromkeys(f"  {explain(item, model)}" for item in error.errors())
        raise InputError(f"{path}:\n" + "\n".join(lines)) from None


def _override(data: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not all(key.split(".")):
        raise InputError(f"{override!r} is not of the form section.key=value")
    section = data
    *parents, last = key.split(".")
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            raise InputError(f"{override!r}: {parent!r} is not a section")
    section[last] = read_yaml(value, f"the value of {_short(override)}")


def explain(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One error of pydantic as one line; the nearest known name for a misspelt key."""
    where, known = _place(item["loc"], model)
    name = ".".join(where)
    if item["type"] == "extra_forbidden":
        return f"unknown key {name!r}; {nearest(where[-1], known)}"
    if item["type"] == "missing":
        return f"{name!r} is missing"
    return f"{name}: {plain_message(item)}{_got(item)}"


def plain_message(item: Mapping[str, Any]) -> str:
    """What pydantic says, without its name for the kind of error."""
    return str(item["msg"]).removeprefix("Value error, ")


def _got(item: Mapping[str, Any]) -> str:
    return f" (got {_short(item['input'])})"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"


def _place(loc: Sequence[Any], model: type[BaseModel]) -> tuple[list[str], list[str]]:
    """The keys of an error's place as the user wrote them, and the names known at the last one.

    pydantic adds the alternatives of a union ("int", "literal['auto']"), which no file contains.
    """
    where: list[str] = []
    inside: type[BaseModel] | None = model
    for part in loc:
        where.append(str(part))
        if inside is None or part not in inside.model_fields:
            break
        model = inside
        inside = section_of(inside, str(part))
    return where, list((inside or model).model_fields)


def section_of(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    """The settings class of a section, `None` for a plain value."""
    annotation = model.model_fields[field].annotation
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
