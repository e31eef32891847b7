"""Readable test input: `boxes("cat", 10, 20, 30, 40)` and tables made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.detections import Detections
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import DETECTIONS, SCORED

Box = tuple[str, float, tuple[float, float, float, float]]


def box(label: str, x1: float, y1: float, x2: float, y2: float, score: float = 0.9) -> Box:
    return label, score, (x1, y1, x2, y2)


def boxes(
    label: str,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    score: float = 0.9,
    *more: Box,
    size: tuple[int, int] = (512, 512),
) -> Detections:
    return detections(box(label, x1, y1, x2, y2, score), *more, size=size)


def detections(*items: Box, size: tuple[int, int] = (512, 512)) -> Detections:
    return Detections(
        tuple(label for label, _, _ in items),
        np.array([score for _, score, _ in items]),
        np.array([xyxy for _, _, xyxy in items], dtype=float).reshape(-1, 4),
        *size,
    )


def detection_rows(
    images: Mapping[tuple[str, int], Detections],
    statuses: Mapping[tuple[str, int], str] | None = None,
) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "prompt_id": prompt_id,
            "sample": sample,
            "image": f"images/{prompt_id}_{sample}.png",
            "width": found.width,
            "height": found.height,
            "status": SCORED,
            "reason": None,
            "detections": found.to_records(),
        }
        for (prompt_id, sample), found in images.items()
    ]
    for (prompt_id, sample), status in (statuses or {}).items():
        rows.append({"prompt_id": prompt_id, "sample": sample, "status": status, "reason": status})
    return pl.DataFrame(rows, schema=DETECTIONS)


def relation_prompt(subject: str, relation: str, object_: str, id: str = "0") -> Prompt:
    scene = SceneSpec((ObjectSpec(subject), ObjectSpec(object_)), (RelationSpec(0, relation, 1),))
    return Prompt(id, f"a {subject} {relation} a {object_}", relation, scene)


def names(prompts: Sequence[Prompt]) -> list[str]:
    return [prompt.id for prompt in prompts]
