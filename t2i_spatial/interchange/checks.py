"""What every table of detections must satisfy, whatever file it came from."""

from __future__ import annotations

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.tables import DETECTIONS, SCORED, STATUSES, conform

SLACK = 1.0
"""Pixels by which a detector's box may stick out of its image before it is refused."""


def check_detections(table: pl.DataFrame, what: str) -> pl.DataFrame:
    """The table in the DETECTIONS schema, or a clear error naming the first wrong row.

    `status` may be absent: a row with a `detections` list is `scored`. Boxes that stick out of an
    image of known size by at most one pixel are clipped.

    Raises:
        InputError: a missing column or value, the same image twice, an unknown status, a box
            without four finite ordered numbers or outside the image, a score outside [0, 1].
    """
    for name in ("prompt_id", "sample", "detections"):
        if name not in table.columns:
            raise InputError(f"{what}: no column {name!r}, found {table.columns}")
    table = table.with_columns(pl.col("prompt_id").cast(pl.String))
    if "status" not in table.columns:
        table = table.with_columns(pl.lit(SCORED).alias("status"))
    table = conform(table, DETECTIONS, what).with_columns(
        pl.when(pl.col("status") == SCORED)
        .then(pl.col("detections").fill_null([]))
        .otherwise(pl.col("detections"))
    )
    _refuse(
        table.filter(pl.col("prompt_id").is_null() | pl.col("sample").is_null()),
        f"{what}: a row has no prompt_id or sample",
    )
    _refuse(
        table.filter(pl.struct("prompt_id", "sample").is_duplicated()),
        f"{what}: the same image twice",
    )
    _refuse(
        table.filter(~pl.col("status").is_in(STATUSES)),
        f"{what}: status must be one of {', '.join(STATUSES)}",
    )
    return _check_boxes(table, what)


def _check_boxes(table: pl.DataFrame, what: str) -> pl.DataFrame:
    flat = (
        table.lazy()
        .select("prompt_id", "sample", "width", "height", "detections")
        .explode("detections")
        .filter(pl.col("detections").is_not_null())
        .unnest("detections")
        .with_columns(
            pl.col("box").list.get(i, null_on_oob=True).alias(name)
            for i, name in enumerate(("x1", "y1", "x2", "y2"))
        )
    )
    corners = [pl.col(name) for name in ("x1", "y1", "x2", "y2")]
    x1, y1, x2, y2 = corners
    width, height = pl.col("width"), pl.col("height")
    outside = (
        (x1 < -SLACK)
        | (y1 < -SLACK)
        | (x2 > width + SLACK).fill_null(False)
        | (y2 > height + SLACK).fill_null(False)
    )
    problems = {
        "a detection has no label": pl.col("label").is_null(),
        "a box needs four numbers": (pl.col("box").list.len() != 4).fill_null(True)
        | pl.any_horizontal(c.is_null() for c in corners),
        "a box is not finite": ~pl.all_horizontal(c.is_finite() for c in corners),
        "a box is inverted (expected x1 <= x2 and y1 <= y2)": (x2 < x1) | (y2 < y1),
        "a box lies outside its image": outside & (width.is_not_null() | height.is_not_null()),
        "a score is not in [0, 1]": ~pl.col("score").is_between(0, 1).fill_null(False)
        | pl.col("score").is_nan().fill_null(False),
        "a depth is not in [0, 1]": ~pl.col("depth").is_between(0, 1).fill_null(True),
    }
    checked = flat.select(
        "prompt_id",
        "sample",
        "label",
        "box",
        "score",
        *[expr.alias(f"problem {i}") for i, expr in enumerate(problems.values())],
        pl.any_horizontal(
            (x1 < 0) | (y1 < 0), (x2 > width).fill_null(False), (y2 > height).fill_null(False)
        ).alias("clip"),
    ).collect()
    for i, problem in enumerate(problems):
        _refuse(
            checked.filter(pl.col(f"problem {i}")).select(
                "prompt_id", "sample", "label", "score", "box"
            ),
            f"{what}: {problem}",
        )
    if not checked["clip"].any():
        return table
    return _clipped(table)


def _clipped(table: pl.DataFrame) -> pl.DataFrame:
    flat = table.with_row_index("row").select("row", "width", "height", "detections")
    boxes = (
        flat.explode("detections")
        .filter(pl.col("detections").is_not_null())
        .unnest("detections")
        .with_columns(
            pl.concat_list(
                pl.col("box")
                .list.get(i)
                .clip(0, pl.col("width" if i % 2 == 0 else "height").cast(pl.Float64))
                for i in range(4)
            ).alias("box")
        )
        .group_by("row", maintain_order=True)
        .agg(pl.struct("label", "score", "box", "color", "depth").alias("clipped"))
    )
    return (
        table.with_row_index("row")
        .join(boxes, on="row", how="left", maintain_order="left")
        .with_columns(pl.coalesce("clipped", "detections").alias("detections"))
        .select(list(DETECTIONS))
    )


def _refuse(bad: pl.DataFrame, problem: str) -> None:
    if len(bad) == 0:
        return
    row = {k: v for k, v in bad.row(0, named=True).items() if v is not None and k != "detections"}
    said = ", ".join(f"{key} {value!r}" for key, value in row.items())
    more = f" ({len(bad)} such)" if len(bad) > 1 else ""
    raise InputError(f"{problem}: {said}{more}")
