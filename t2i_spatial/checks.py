"""What every table of detections must satisfy, wherever it came from."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from t2i_spatial.errors import InputError
from t2i_spatial.tables import DETECTIONS, KEY, SCORED, STATUSES, conform

Floats = NDArray[np.float64]

SLACK = 1.0
"""Pixels by which a detector's box may stick out of its image before it is refused."""


MOST_BOXES = 10_000
"""Boxes of one image that are judged; what pairs of boxes cost grows with the square."""


def check_box_counts(table: pl.DataFrame) -> None:
    """Refuse images with more boxes than can be judged in reasonable time.

    Raises:
        InputError: naming the first such image.
    """
    _refuse(
        table.filter(table["detections"].list.len().fill_null(0) > MOST_BOXES),
        f"an image has more than {MOST_BOXES:,} boxes, which no image shows; raise the threshold "
        "of the detector, or suppress overlapping boxes",
    )


def check_detections(table: pl.DataFrame, what: str) -> pl.DataFrame:
    """A table of a file in the DETECTIONS schema, or a clear error naming the first wrong row.

    As `check_images`, for files, which may say less: prompt ids may be numbers, and without a
    `status` every row is `scored`, one without a list having no boxes. Boxes that stick out of an
    image of known size by at most one pixel are clipped.

    Raises:
        InputError: see `check_images`.
    """
    if "prompt_id" in table.columns:
        table = table.with_columns(_ids(table["prompt_id"], what))
    if "status" not in table.columns:
        table = table.with_columns(pl.lit(SCORED).alias("status"))
        if "detections" in table.columns:
            table = table.with_columns(pl.col("detections").fill_null([]))
    return _clipped(check_images(table, what))


def check_images(table: pl.DataFrame, what: str = "detections") -> pl.DataFrame:
    """The table in the DETECTIONS schema with its values as they are.

    Raises:
        InputError: a missing column or value, the same image twice, an unknown status, a scored
            image without a list of detections, a box without a label or four finite ordered
            numbers or outside the image (by more than one pixel), a score or depth outside
            [0, 1].
    """
    for name in (*KEY, "status", "detections"):
        if name not in table.columns:
            raise InputError(f"{what}: no column {name!r}, found {table.columns}")
    if table.schema != DETECTIONS:
        if table.schema["sample"].is_float():
            raise InputError(f"{what}: sample must be a whole number, got {table.schema['sample']}")
        table = conform(table, DETECTIONS, what)
    prompt_id, sample, status = (table[name] for name in (*KEY, "status"))
    if prompt_id.null_count() or sample.null_count():
        bad = table.filter(prompt_id.is_null() | sample.is_null())
        _refuse(bad, f"{what}: a row has no prompt_id or sample")
    keys = table.select(KEY)
    if keys.n_unique() < len(keys):
        _refuse(table.filter(keys.is_duplicated()), f"{what}: the same image twice")
    if not set(status.unique()) <= set(STATUSES):
        bad = table.filter(~status.is_in(STATUSES).fill_null(False))
        _refuse(bad, f"{what}: status must be one of {', '.join(STATUSES)}")
    if table["detections"].null_count():
        _refuse(
            table.filter((status == SCORED) & pl.col("detections").is_null()),
            f"{what}: a scored image has no list of detections (an empty one when nothing was "
            "found)",
        )
    if not _sound(table):
        _refuse_boxes(table, what)
    return table


def _ids(column: pl.Series, what: str) -> pl.Series:
    """Prompt ids as text; numbers must be whole."""
    kind = column.dtype
    if kind.is_float():
        whole = column.drop_nulls()
        if not (whole.is_finite() & (whole == whole.floor())).all():
            raise InputError(f"{what}: prompt_id must be text or a whole number, got {kind}")
        column = column.cast(pl.Int64)
    elif not (kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        raise InputError(f"{what}: prompt_id must be text or a whole number, got {kind}")
    return column.cast(pl.String)


def _sound(table: pl.DataFrame) -> bool:
    """Whether all boxes, scores and depths are in order: one look at flat arrays."""
    found = table["detections"]
    flat = found.explode().drop_nulls().struct
    boxes, score, depth = flat.field("box"), _numbers(flat.field("score")), flat.field("depth")
    count = found.list.len().fill_null(0)
    if len(boxes) != count.sum() or flat.field("label").null_count() or boxes.null_count():
        return False
    if not (boxes.list.len() == 4).all():
        return False
    x1, y1, x2, y2 = _corners(boxes)
    width, height = (_numbers(table[name]).repeat(count) for name in ("width", "height"))
    near = _numbers(depth.drop_nulls())
    return bool(
        np.isfinite([x1.sum(), y1.sum(), x2.sum(), y2.sum()]).all()
        and ((x1 <= x2) & (y1 <= y2)).all()
        and (np.minimum(x1, y1) >= -SLACK).all()
        and not ((x2 > width + SLACK) | (y2 > height + SLACK)).any()
        and ((score >= 0) & (score <= 1)).all()
        and ((near >= 0) & (near <= 1)).all()
    )


def _corners(boxes: pl.Series) -> Floats:
    """(4, n) from lists of four numbers."""
    return _numbers(boxes.explode()).reshape(-1, 4).T


def _numbers(column: pl.Series) -> Floats:
    """The column as float64, null as NaN."""
    return column.cast(pl.Float64).to_numpy()


def _refuse_boxes(table: pl.DataFrame, what: str) -> None:
    """Names the first broken box; slower than `_sound`, which decides."""
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
    ).collect()
    for i, problem in enumerate(problems):
        _refuse(
            checked.filter(pl.col(f"problem {i}")).select(
                "prompt_id", "sample", "label", "score", "box"
            ),
            f"{what}: {problem}",
        )


def _clipped(table: pl.DataFrame) -> pl.DataFrame:
    found = table["detections"]
    boxes = found.explode().drop_nulls().struct.field("box")
    x1, y1, x2, y2 = _corners(boxes)
    count = found.list.eval(pl.element().drop_nulls()).list.len().fill_null(0)
    width, height = (_numbers(table[name]).repeat(count) for name in ("width", "height"))
    if not ((np.minimum(x1, y1) < 0) | (x2 > width) | (y2 > height)).any():
        return table
    flat = table.with_row_index("row").select("row", "width", "height", "detections")
    clipped = (
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
        .join(clipped, on="row", how="left", maintain_order="left")
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
