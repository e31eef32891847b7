"""From tables of images to flat boxes, and from judged columns back to a VERDICTS table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from t2i_spatial.checks import check_images
from t2i_spatial.errors import InputError
from t2i_spatial.tables import (
    COMPONENT,
    DETECTOR_FAILED,
    EVIDENCE,
    NOT_APPLICABLE,
    SCORED,
    VERDICTS,
)

Expr = pl.Expr
EVIDENCES = pl.List(EVIDENCE)
CORNERS = ("x1", "y1", "x2", "y2")


def asked_pairs(prompts: pl.DataFrame) -> pl.DataFrame:
    """What each prompt asks of two objects: `subject`, `relation`, `phrase`, `object`.

    Columns are null where a prompt does not have exactly two objects and one relation between
    them. `phrase` is the wording of the prompt, the relation itself when that was all there was.
    """
    relation = pl.col("relations").list.get(0, null_on_oob=True)
    subject, target = (relation.struct.field(name) for name in ("subject", "object"))
    single = (
        (pl.col("relations").list.len() == 1)
        & (pl.col("objects").list.len() == 2)
        & (subject != target)
        # that something must not be so is another question
        & ~relation.struct.field("negated").fill_null(False)
    )

    def name(index: Expr) -> Expr:
        return pl.col("objects").list.get(index, null_on_oob=True).struct.field("name")

    words = relation.struct.field("relation")
    columns = {
        "subject": name(subject),
        "relation": words,
        "phrase": pl.coalesce(relation.struct.field("phrase"), words),
        "object": name(target),
    }
    return prompts.select(
        "prompt_id",
        "tag",
        *[pl.when(single).then(expr).alias(key) for key, expr in columns.items()],
    )


def join_prompts(detections: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """The image rows with their number (`row`) and the columns of `asked`, in the same order.

    Raises:
        InputError: an image belongs to no prompt of the set, a prompt id occurs twice, or
            `check_images` refuses the images.
    """
    detections = check_images(detections)
    twice = asked.filter(pl.col("prompt_id").is_duplicated())
    if len(twice):
        raise InputError(f"the prompt id {twice['prompt_id'][0]!r} occurs twice in the prompts")
    unknown = detections.join(asked, on="prompt_id", how="anti")
    if len(unknown):
        raise InputError(
            f"{len(unknown)} of {len(detections)} images belong to no prompt of the set "
            f"(first: prompt id {unknown['prompt_id'][0]!r}); is this the right prompt file?"
        )
    return detections.with_row_index("row").join(
        asked, on="prompt_id", how="left", maintain_order="left"
    )


def flat_boxes(images: pl.DataFrame, *keep: str) -> pl.DataFrame:
    """One row per detection of the scored images, in the order in which they are listed.

    Columns: `row` and `keep` of the image, `label, score, x1, y1, x2, y2, color, depth`.
    """
    box = pl.col("box")
    return (
        images.filter(pl.col("status") == SCORED)
        .select("row", *keep, "detections")
        .explode("detections")
        .filter(pl.col("detections").is_not_null())
        .unnest("detections")
        .with_columns(
            box.list.get(i, null_on_oob=True).alias(n)
            for i, n in enumerate(("x1", "y1", "x2", "y2"))
        )
        .drop("box")
    )


def box_column(table: pl.DataFrame, columns: Sequence[str] = CORNERS) -> pl.Series:
    """Boxes as lists from four columns without nulls (100 times faster than `concat_list`)."""
    return pl.Series(
        "box", table.select(columns).to_numpy(), dtype=pl.Array(pl.Float64, 4)
    ).arr.to_list()


def evidence(images: pl.DataFrame, roles: Mapping[str, str]) -> pl.DataFrame:
    """`row, evidence` from the columns `<prefix>_score, _x1 … _y2`; absent boxes are left out.

    Args:
        roles: column prefix (also the role) -> column that holds the label.
    """
    parts = []
    for prefix, label in roles.items():
        found = images.filter(pl.col(f"{prefix}_x1").is_not_null())
        parts.append(
            found.select(
                "row",
                pl.lit(prefix).alias("role"),
                pl.col(label).alias("label"),
                pl.col(f"{prefix}_score").alias("score"),
            ).with_columns(box_column(found, [f"{prefix}_{c}" for c in CORNERS]))
        )
    return evidence_lists(pl.concat(parts))


def evidence_lists(items: pl.DataFrame) -> pl.DataFrame:
    """`row, evidence` from `row, role, label, score, box`, in the given order within a row."""
    return (
        items.sort("row", maintain_order=True)
        .select("row", pl.struct("role", "label", "score", "box").alias("evidence"))
        .group_by("row", maintain_order=True)
        .agg("evidence")
        .cast({"evidence": EVIDENCES})
    )


def component_column(images: pl.DataFrame, values: Mapping[str, Expr]) -> pl.Series:
    """COMPONENT lists of named numbers, one list per row (`concat_list` is 100 times slower)."""
    n, k = len(images), len(values)
    if n == 0:
        return pl.Series("components", [], dtype=pl.List(COMPONENT))
    flat = pl.concat(
        images.select(pl.lit(name).alias("name"), value.cast(pl.Float64).alias("value"))
        for name, value in values.items()
    )
    interleaved = flat[np.arange(k * n).reshape(k, n).T.ravel()]
    column = interleaved.to_struct("components").reshape((n, k)).arr.to_list()
    return column.cast(pl.List(COMPONENT))


def verdict_table(
    images: pl.DataFrame,
    protocol: str,
    *,
    applicable: Expr,
    why_not: str | Expr,
    value: Expr,
    correct: Expr,
    margin: Expr,
    reason: Expr,
    components: Mapping[str, Expr],
    evidence: pl.DataFrame | None = None,
    failed: Expr | None = None,
    unjudged: Expr | None = None,
) -> pl.DataFrame:
    """VERDICTS from judged columns; values of rows that were not scored become null.

    Args:
        images: from `join_prompts`, with whatever the expressions refer to.
        components: name -> number, in order.
        evidence: `row, evidence` (see `evidence`, `evidence_lists`); rows without one, or all
            when there is none, have an empty list.
        failed: the reason why the detections of a scored image do not suffice, or null.
        unjudged: what of the prompt could not be judged on this image, a list of texts.
    """
    images = images.drop("evidence", strict=False)
    if evidence is None:
        evidence = pl.DataFrame(schema={"row": images.schema["row"], "evidence": EVIDENCES})
    images = images.join(evidence, on="row", how="left", maintain_order="left")
    images = images.with_columns(
        component_column(images, components), pl.col("evidence").fill_null([])
    )
    given = pl.col("status")
    # an image that nobody could be asked about stays so, for the reason that the detector gave
    applicable = applicable | (given == NOT_APPLICABLE)
    status = pl.when(applicable).then(given).otherwise(pl.lit(NOT_APPLICABLE))
    scored = applicable & (given == SCORED)
    lacking = pl.lit(None, pl.String) if failed is None else pl.when(scored).then(failed)
    status = pl.when(lacking.is_not_null()).then(pl.lit(DETECTOR_FAILED)).otherwise(status)
    scored = scored & lacking.is_null()
    not_for_it = pl.lit(why_not) if isinstance(why_not, str) else why_not

    def only_scored(expr: Expr) -> Expr:
        return pl.when(scored).then(expr)

    columns = {
        "prompt_id": pl.col("prompt_id"),
        "sample": pl.col("sample"),
        "protocol": pl.lit(protocol),
        "tag": pl.col("tag"),
        "value": only_scored(value.cast(pl.Float64)),
        "correct": only_scored(correct),
        "status": status,
        "margin": only_scored(margin.cast(pl.Float64)),
        "reason": pl.when(~applicable)
        .then(not_for_it)
        .when(scored)
        .then(reason)
        .otherwise(pl.coalesce(lacking, "reason", "status")),
        "evidence": only_scored(pl.col("evidence")),
        "components": only_scored(pl.col("components")),
        "unjudged": pl.lit([]) if unjudged is None else only_scored(unjudged),
    }
    return images.select(expr.cast(VERDICTS[name]).alias(name) for name, expr in columns.items())
