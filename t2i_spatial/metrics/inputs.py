"""What users hand to `Metric.update`, as PROMPTS and DETECTIONS tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import polars as pl

from t2i_spatial.checks import check_images
from t2i_spatial.detections import Detections, NoBoxes, detections_table
from t2i_spatial.errors import InputError
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import (
    IMAGE_MISSING,
    PROMPTS,
    conform,
    prompts_to_table,
)

T = TypeVar("T")
TEXTS = ("prompt_id", "text")
NO_IMAGE = NoBoxes(IMAGE_MISSING, "no image")


def input_tables(
    prompts: pl.DataFrame | Iterable[Prompt],
    detections: pl.DataFrame | Iterable[Detections | None],
    samples: Mapping[str, int],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Checked tables from tables, or from one `Prompt` and one `Detections` per image.

    Args:
        samples: prompt id -> number of the next sample, for images given one by one; 0 for
            prompts that are not named.

    Raises:
        InputError: see `Metric.update`.
    """
    if isinstance(prompts, pl.DataFrame) and isinstance(detections, pl.DataFrame):
        return _check_prompts(prompts), check_images(detections)
    if isinstance(prompts, pl.DataFrame) or isinstance(detections, pl.DataFrame):
        raise InputError("give both prompts and detections as tables, or both as sequences")
    asked = _listed(prompts, Prompt, "prompts")
    found = _listed(detections, Detections | None, "detections")
    if len(asked) != len(found):
        raise InputError(f"{len(asked)} prompts for {len(found)} images")
    return prompts_to_table(_distinct(asked)), detections_table(
        zip(
            (prompt.id for prompt in asked),
            (NO_IMAGE if d is None else d for d in found),
            strict=True,
        ),
        dict(samples),
    )


def refuse_other_texts(seen: pl.DataFrame, new: pl.DataFrame) -> None:
    """Raise `InputError` naming a prompt id that stands for another prompt in `new`."""
    both = seen.join(new, on="prompt_id", suffix="_new")
    for column, what in (("text", "texts"), ("objects", "scenes"), ("relations", "scenes")):
        other = both.filter(pl.col(column).ne_missing(pl.col(f"{column}_new")))
        if len(other):
            raise InputError(f"the prompt id {other['prompt_id'][0]!r} has two {what}")


def _check_prompts(table: pl.DataFrame) -> pl.DataFrame:
    for name in (*TEXTS, "objects", "relations"):
        if name not in table.columns:
            raise InputError(f"prompts: no column {name!r}, found {table.columns}")
    table = conform(table, PROMPTS, "prompts")
    for name in TEXTS:
        if table[name].null_count():
            raise InputError(f"prompts: a row has no {name}")
    return table


def _listed(given: Any, kind: Any, what: str) -> list[Any]:
    wanted = "Prompt" if kind is Prompt else "Detections or None"
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise InputError(
            f"{what} must be a table (polars.DataFrame) or a sequence of {wanted}, "
            f"got {type(given).__name__}"
        )
    items = list(given)
    for item in items:
        if not isinstance(item, kind):
            raise InputError(f"{what} must hold {wanted}, got {type(item).__name__}")
    return items


def _distinct(asked: list[Prompt]) -> list[Prompt]:
    """Each prompt once, with its scene; one without is parsed."""
    known: dict[str, Prompt] = {}
    for prompt in asked:
        if not isinstance(prompt.id, str) or not isinstance(prompt.text, str):
            raise InputError(f"id and text of a prompt must be text, got {prompt.id!r}")
        first = known.setdefault(prompt.id, prompt)
        if first.text != prompt.text:
            raise InputError(f"the prompt id {prompt.id!r} has two texts")
        if first.scene is None:
            known[prompt.id] = replace(first, scene=prompt.scene)
        elif prompt.scene not in (None, first.scene):
            raise InputError(f"the prompt id {prompt.id!r} has two scenes")
    if all(prompt.scene is not None for prompt in known.values()):
        return list(known.values())
    from t2i_spatial.prompts import read_scenes

    return read_scenes(list(known.values()))
