"""Where verdicts that people do not share come from: missed objects, imagined ones, or rules."""

from __future__ import annotations

import polars as pl

from t2i_spatial.labels.records import NO, YES
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.run import Run
from t2i_spatial.tables import KEY, NOT_APPLICABLE, SCORED

MISSED = "object missed"
IMAGINED = "object imagined"
TOO_STRICT = "objects found, judged wrong"
TOO_LENIENT = "objects there, judged right"
NOT_JUDGED = "not judged"
KINDS = (MISSED, IMAGINED, TOO_STRICT, TOO_LENIENT, NOT_JUDGED)


def error_sources(run: Run, protocol: str, table: pl.DataFrame) -> dict[str, float]:
    """Share of all images that the protocol judges otherwise than people, by where it comes from.

    Args:
        table: verdicts joined with `Truth` and `pi`.
    """
    labelled = table.filter(pl.col("image").is_in([YES, NO]) & (pl.col("status") != NOT_APPLICABLE))
    if labelled.is_empty():
        return {}
    seen = _objects_seen(run, protocol, labelled)
    kinds = labelled.join(seen, on=KEY, how="left", maintain_order="left").select(
        (1 / pl.col("pi")).alias("weight"), _kind().alias("kind")
    )
    total = float(kinds["weight"].sum())
    shares = dict(kinds.drop_nulls("kind").group_by("kind").agg(pl.col("weight").sum()).rows())
    return {kind: float(shares[kind]) / total for kind in KINDS if kind in shares}


def _kind() -> pl.Expr:
    right = pl.col("correct").fill_null(False)
    there, said = pl.col("seen"), pl.col("image") == YES
    judged = pl.col("status") == SCORED
    return (
        pl.when(~right & said & ~judged)
        .then(pl.lit(NOT_JUDGED))
        .when(~right & said & ~there.fill_null(True))
        .then(pl.lit(MISSED))
        .when(~right & said)
        .then(pl.lit(TOO_STRICT))
        .when(right & ~said & (pl.col("objects") == NO).fill_null(False))
        .then(pl.lit(IMAGINED))
        .when(right & ~said)
        .then(pl.lit(TOO_LENIENT))
    )


def _objects_seen(run: Run, protocol: str, images: pl.DataFrame) -> pl.DataFrame:
    """`prompt_id, sample, seen`: whether boxes of all asked names pass the protocol's threshold."""
    if not run.has("detections/main.parquet") or PROTOCOLS[protocol].evidence != "boxes":
        return images.select(*KEY, pl.lit(None, dtype=pl.Boolean).alias("seen"))
    used = run.plan("score")[protocol].get("settings", {})
    least = next((used[key] for key in ("threshold", "min_score") if key in used), 0.0)
    asked = (
        run.prompts()
        .select("prompt_id", pl.col("objects").list.eval(_wanted_name()).alias("names"))
        .with_columns(pl.col("names").list.drop_nulls())
    )
    struct = pl.element().struct
    found = run.detections().select(
        *KEY,
        pl.col("detections")
        .list.eval(pl.when(struct.field("score") > least).then(struct.field("label")))
        .list.drop_nulls()
        .fill_null([])
        .alias("found"),
    )
    joined = images.select(*KEY).join(found, on=KEY, how="left").join(asked, on="prompt_id")
    lacking = pl.col("names").list.set_difference("found").list.len()
    return joined.select(*KEY, (lacking == 0).alias("seen"))


def _wanted_name() -> pl.Expr:
    struct = pl.element().struct
    return pl.when(struct.field("count").fill_null(1) > 0).then(struct.field("name"))
