"""The common scene of `spatial`, two objects and one relation, for all images at once.

Gives what `assignment.assign` gives, image by image, for scenes of any shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.metrics.assignment import (
    ASIDE,
    DOUBT,
    OPPOSITES,
    SAME_BOX,
    SAME_BOX_PROBABILITY,
    SCORE_WEIGHT,
    matches,
)
from t2i_spatial.metrics.duplicates import SAME_THING
from t2i_spatial.metrics.geometry import Boxes, columns, iou
from t2i_spatial.metrics.relations import Pairs, find_rule, protocol_rules
from t2i_spatial.metrics.tabular import CORNERS, box_column, evidence_lists
from t2i_spatial.relations import relation_row
from t2i_spatial.tables import EVIDENCE

KINDS = ("objects", "relations", "counts", "colors", "frame")
PARTS = (*KINDS, "mean")
_COLUMNS: dict[str, Any] = {
    "row": pl.UInt32,
    "value": pl.Float64,
    **dict.fromkeys(PARTS, pl.Float64),
    "said": pl.String,
    "evidence": pl.List(EVIDENCE),
    "unjudged": pl.List(pl.String),
}
JUDGED = pl.Schema(_COLUMNS)


def is_pair_scene(images: pl.DataFrame) -> pl.Series:
    """Two single objects of different names, no more asked of them, and one relation."""
    each = pl.element().struct
    lowered = pl.col("text").str.to_lowercase()
    relation = pl.col("relations").list.get(0, null_on_oob=True).struct
    return images.select(
        (
            (pl.col("objects").list.len() == 2)
            & (pl.col("relations").list.len() == 1)
            & (relation.field("subject") != relation.field("object"))
            & (pl.col("objects").list.eval(each.field("name")).list.n_unique() == 2)
            & pl.col("objects").list.eval(each.field("count").fill_null(1) == 1).list.all()
            & pl.col("objects").list.eval(each.field("color").is_null()).list.all()
            & pl.col("objects").list.eval(each.field("frame_position").is_null()).list.all()
            & pl.col("objects")
            .list.eval(each.field("count_rule").fill_null("exactly") == "exactly")
            .list.all()
            & relation.field("relation").is_in(_pair_relations())
            & ~relation.field("negated").fill_null(False)
            & ~lowered.str.contains(r"\b(one|single|1)\b")
        ).fill_null(False)
    ).to_series()


def _pair_relations() -> list[str]:
    """Relations between two boxes that there is a rule for."""
    return [r for r in protocol_rules("spatial") if relation_row(r).ends == 1]


def judge_pairs(images: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
    """JUDGED rows of images whose scene is a pair, from their boxes (with `row` and `place`)."""
    if len(images) == 0:
        return pl.DataFrame(schema=JUDGED)
    relation = pl.col("relations").list.get(0).struct
    objects = pl.col("objects").list
    asked = images.select(
        "row",
        relation.field("relation"),
        objects.get(relation.field("subject")).struct.field("name").alias("subject"),
        objects.get(relation.field("object")).struct.field("name").alias("object"),
        relation.field("subject").alias("subject_index"),
        relation.field("object").alias("object_index"),
    )
    named = boxes.join(asked, on="row")
    named = named.join(_meanings(named), on=["label", "subject", "object"], how="left")
    sides = {}
    for role in ("subject", "object"):
        sides[role] = (
            named.filter(f"is_{role}")
            .sort("row", "score", descending=[False, True], maintain_order=True)
            .filter(pl.int_range(pl.len()).over("row") < 8)
            .sort("row", "place")
            .select(
                "row",
                *[pl.col(c).alias(f"{role}_{c}") for c in ("place", "score", "depth", *CORNERS)],
            )
        )
    pairs = sides["subject"].join(sides["object"], on="row", maintain_order="left_right")
    told = asked.select(
        "row",
        "relation",
        pl.col("subject").alias("subject_name"),
        pl.col("object").alias("object_name"),
    )
    pairs = pairs.join(told, on="row", how="left", maintain_order="left")
    best = _best_pairs(pairs)
    found = asked.join(best, on="row", how="left", maintain_order="left")
    for role in ("subject", "object"):
        first = sides[role].sort(
            "row", f"{role}_score", descending=[False, True], maintain_order=True
        )
        alone = first.unique("row", keep="first", maintain_order=True).rename(
            {c: f"alone_{c}" for c in first.columns if c != "row"}
        )
        found = found.join(alone, on="row", how="left", maintain_order="left")
    return _pair_verdicts(found)


def _meanings(named: pl.DataFrame) -> pl.DataFrame:
    """For every label beside every pair of asked names: whether it means one of them."""
    seen = named.select("label", "subject", "object").unique()
    rows = []
    for label, *asked in seen.iter_rows():
        meant = [matches(label, name, set(asked)) for name in asked]
        rows.append((label, *asked, *meant))
    names = [*seen.columns, "is_subject", "is_object"]
    types = [*seen.dtypes, pl.Boolean(), pl.Boolean()]
    return pl.DataFrame(rows, schema=list(zip(names, types, strict=True)), orient="row")


def _best_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """The best pair of every image: `row`, its boxes, `probability`, `opposite`, `shared`."""
    n = len(pairs)
    probability, opposite = np.zeros(n), np.zeros(n)
    a, b = (_columns(pairs, role) for role in ("subject", "object"))
    depths = [pairs[f"{r}_depth"].fill_null(np.nan).to_numpy() for r in ("subject", "object")]
    names = [pairs[f"{r}_name"].to_numpy().astype(np.str_) for r in ("subject", "object")]
    relation = pairs["relation"].to_numpy()
    for name in pairs["relation"].unique():
        at = np.flatnonzero(relation == name)
        part = Pairs(
            Boxes(*(c[at] for c in a)),
            Boxes(*(c[at] for c in b)),
            depth=(depths[0][at], depths[1][at]),
            subject_name=names[0][at],
            object_name=names[1][at],
        )
        probability[at] = find_rule("spatial", name)(part)
        if name in OPPOSITES:
            opposite[at] = find_rule("spatial", OPPOSITES[name])(part)
    aside = pairs["relation"].is_in(list(ASIDE)).to_numpy()
    shared = iou(a, b) > np.where(aside, SAME_THING, SAME_BOX)
    same = (pairs["subject_place"] == pairs["object_place"]).to_numpy()
    weight = (pairs["subject_score"] * pairs["object_score"]).to_numpy() ** SCORE_WEIGHT
    fit = weight * np.maximum(probability, DOUBT) * np.where(shared, SAME_BOX_PROBABILITY, 1.0)
    return (
        pairs.with_columns(
            pl.Series("probability", probability),
            pl.Series("opposite", opposite),
            pl.Series("shared", shared),
            pl.Series("fit", np.where(same, -1.0, fit)),
        )
        .filter(pl.col("fit") >= 0)
        .sort("row", "fit", descending=[False, True], maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
        .drop("relation", "subject_name", "object_name")
    )


def _columns(pairs: pl.DataFrame, role: str) -> Boxes:
    return columns(pairs.select(f"{role}_{c}" for c in CORNERS).to_numpy())


def _pair_verdicts(found: pl.DataFrame) -> pl.DataFrame:
    both = pl.col("probability").is_not_null()
    has = {role: pl.col(f"alone_{role}_score").is_not_null() for role in ("subject", "object")}
    shared = pl.col("shared").fill_null(False)
    probability = pl.max_horizontal(pl.col("probability"), pl.lit(1e-9))
    objects = pl.when(~both).then(0.0).when(shared).then(SAME_BOX_PROBABILITY).otherwise(1.0)
    value = pl.when(both).then(pl.min_horizontal(probability, objects)).otherwise(0.0)
    # two presences, the relation when it can be asked, and "one box" when that is so
    present = pl.sum_horizontal(has["subject"].cast(pl.Float64), has["object"].cast(pl.Float64))
    mean = (
        pl.when(shared)
        .then((2 + probability + SAME_BOX_PROBABILITY) / 4)
        .when(both)
        .then((2 + probability) / 3)
        .otherwise(present / 2)
    )
    swapped = pl.col("subject_index") > pl.col("object_index")
    first_missing = (
        pl.when(~has["subject"] & (has["object"] | ~swapped)).then("subject").otherwise("object")
    )
    judged = found.select(
        "row",
        value.alias("value"),
        objects.alias("objects"),
        pl.when(both).then(probability).alias("relations"),
        *[pl.lit(None, pl.Float64).alias(kind) for kind in ("counts", "colors", "frame")],
        mean.alias("mean"),
        pl.when(~both)
        .then(pl.format("no {} found", first_missing))
        .when(shared & (probability > SAME_BOX_PROBABILITY))
        .then(
            pl.when(swapped)
            .then(pl.format("{} and {} share one box", "object", "subject"))
            .otherwise(pl.format("{} and {} share one box", "subject", "object"))
        )
        .otherwise(_relation_said())
        .alias("said"),
        pl.lit([], pl.List(pl.String)).alias("unjudged"),
    ).join(_pair_evidence(found), on="row", how="left", maintain_order="left")
    return judged.with_columns(pl.col("evidence").fill_null([])).select(
        pl.col(name).cast(dtype) for name, dtype in JUDGED.items()
    )


def _pair_evidence(found: pl.DataFrame) -> pl.DataFrame:
    """The chosen pair, or the best box of the one object that is there, in the scene's order."""
    both = pl.col("probability").is_not_null()
    wanted = ("score", *CORNERS)
    items = []
    for role in ("subject", "object"):
        chosen = found.select(
            "row",
            pl.col(f"{role}_index").alias("index"),
            pl.col(role).alias("label"),
            *[
                pl.when(both).then(f"{role}_{c}").otherwise(f"alone_{role}_{c}").alias(c)
                for c in wanted
            ],
        ).filter(pl.col("score").is_not_null())
        items.append(
            chosen.select(
                "row", "index", pl.format("object {}", "index").alias("role"), "label", "score"
            ).with_columns(box_column(chosen))
        )
    return evidence_lists(pl.concat(items).sort("index", maintain_order=True))


def _relation_said() -> pl.Expr:
    """`relation_words`, for whole columns."""
    two = pl.max_horizontal("probability", pl.lit(1e-9)).round(2)
    whole = (two * 100).round(0).cast(pl.Int64)
    number = pl.format("{}.{}", whole // 100, (whole % 100).cast(pl.String).str.zfill(2))
    opposite = pl.col("relation").replace_strict(OPPOSITES, default=None)
    return (
        pl.when(pl.col("probability") > 0.5)
        .then(pl.format("{} is {} {}: {}", "subject", "relation", "object", number))
        .when(pl.col("opposite") > 0.5)
        .then(
            pl.format(
                "{} is {} {} (needs {}): {}", "subject", opposite, "object", "relation", number
            )
        )
        .otherwise(pl.format("{} is not {} {}: {}", "subject", "relation", "object", number))
    )
