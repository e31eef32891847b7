"""The table that filters look at: one row per expected image with all that is known of it.

Columns: `prompt_id`, `sample`, `image`, `path`, `width`, `height`, `text`, `tag`; `subject`,
`relation`, `object` (of the prompt's first relation); `status` and `status_reason` (of the image,
or of its verdict when the image is fine); `value`, `correct`, `margin`, `verdict` (its reason);
`score` (the lowest detector score among the boxes the verdict used); `n_objects` (how many boxes
the detector found); and of the first two boxes of the verdict, in pixels, `a_label`, `a_x`, `a_y`,
`a_w`, `a_h`, `b_label` and so on.
"""

from __future__ import annotations

import polars as pl

from t2i_spatial.locations import ABSOLUTE
from t2i_spatial.tables import KEY, SCORED

COLUMNS: tuple[str, ...] = (
    *KEY,
    "image",
    "path",
    "width",
    "height",
    "text",
    "tag",
    "subject",
    "relation",
    "object",
    "status",
    "status_reason",
    "value",
    "correct",
    "margin",
    "verdict",
    "score",
    "n_objects",
    *(f"{role}_{part}" for role in "ab" for part in ("label", "x", "y", "w", "h")),
)


def join_candidates(
    images: pl.LazyFrame,
    prompts: pl.LazyFrame,
    verdicts: pl.LazyFrame,
    detections: pl.LazyFrame | None = None,
    *,
    folder: str = "",
) -> pl.LazyFrame:
    """One row per row of `images`, in its order; nothing is read until it is collected.

    Args:
        images: IMAGES (or DETECTIONS of images that have no such table).
        prompts: PROMPTS.
        verdicts: VERDICTS of one protocol.
        detections: DETECTIONS; without them `n_objects` is null.
        folder: what a relative `image` is relative to; gives `path`.
    """
    judged = verdicts.select(
        *KEY,
        "value",
        "correct",
        "margin",
        pl.col("status").alias("verdict_status"),
        pl.col("reason").alias("verdict"),
        pl.col("evidence").list.eval(pl.element().struct.field("score")).list.min().alias("score"),
        *_pair(),
    )
    image = pl.col("image")
    bad_image = pl.col("status") != SCORED
    absolute = image.str.contains(ABSOLUTE)
    joined = (
        images.select(*KEY, "image", "width", "height", "status", "reason")
        .join(asked(prompts), on="prompt_id", how="left", maintain_order="left")
        .join(judged, on=KEY, how="left", maintain_order="left")
    )
    if detections is None:
        joined = joined.with_columns(pl.lit(None, dtype=pl.UInt32).alias("n_objects"))
    else:
        found = detections.select(*KEY, pl.col("detections").list.len().alias("n_objects"))
        joined = joined.join(found, on=KEY, how="left", maintain_order="left")
    return joined.with_columns(
        pl.when(absolute | image.is_null() | pl.lit(not folder))
        .then(image)
        .otherwise(pl.lit(f"{folder}/") + image)
        .alias("path"),
        pl.when(bad_image)
        .then("status")
        .otherwise(pl.col("verdict_status").fill_null("not_judged"))
        .alias("status"),
        pl.when(bad_image)
        .then("reason")
        .otherwise(pl.col("verdict").fill_null("there is no verdict on this image"))
        .alias("status_reason"),
    ).select(COLUMNS)


def asked(prompts: pl.LazyFrame) -> pl.LazyFrame:
    """Of a PROMPTS table: `prompt_id`, `text`, `tag`, and what the first relation asks.

    `subject`, `relation` and `object` are null for a prompt without a relation.
    """
    relation = pl.col("relations").list.get(0, null_on_oob=True)

    def name(role: str) -> pl.Expr:
        index = relation.struct.field(role)
        return pl.col("objects").list.get(index, null_on_oob=True).struct.field("name")

    return prompts.select(
        "prompt_id",
        "text",
        "tag",
        name("subject").alias("subject"),
        relation.struct.field("relation").alias("relation"),
        name("object").alias("object"),
    )


def _pair() -> list[pl.Expr]:
    """Label, corner and size of the first two boxes of a verdict."""
    columns = []
    for index, role in enumerate("ab"):
        item = pl.col("evidence").list.get(index, null_on_oob=True)
        box = item.struct.field("box")
        x1, y1, x2, y2 = (box.list.get(i, null_on_oob=True) for i in range(4))
        parts = {"label": item.struct.field("label"), "x": x1, "y": y1, "w": x2 - x1, "h": y2 - y1}
        columns += [expr.alias(f"{role}_{part}") for part, expr in parts.items()]
    return columns
