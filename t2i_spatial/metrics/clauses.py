"""GenEval's view of a prompt: classes with counts, colours and positions, judged per clause.

Shared by `geneval` and the rewards that grew out of it. Source: djghosh13/geneval @ af4902f,
`evaluation/evaluate_images.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.color_words import color_fit
from t2i_spatial.metrics.duplicates import not_things
from t2i_spatial.metrics.geometry import Boxes, Floats
from t2i_spatial.metrics.rules.geneval import geneval_direction
from t2i_spatial.metrics.tabular import flat_boxes, join_prompts
from t2i_spatial.tables import SCORED

POSITIONS = ("left of", "right of", "above", "below")

CLAUSES = pl.Schema(
    {
        "prompt_id": pl.String,
        "clause": pl.Int32,
        "label": pl.String,
        "count": pl.Int32,
        "wanted": pl.String,
        "relation": pl.String,
        "target": pl.Int32,
    }
)
EXCLUDED = pl.Schema({"prompt_id": pl.String, "label": pl.String, "count": pl.Int32})


@dataclass(frozen=True)
class Request:
    """What the prompts ask, as clauses.

    Attributes:
        prompts: `prompt_id, tag, why_not` (null when the prompt can be judged).
        include: CLAUSES; `relation` and `target` (a clause number) are null without a position.
        exclude: EXCLUDED: too many from `count` on.
    """

    prompts: pl.DataFrame
    include: pl.DataFrame
    exclude: pl.DataFrame


def requests(prompts: pl.DataFrame) -> Request:
    """Clauses from the GenEval record that a prompt came with, or else from its scene.

    From a scene: every object is a clause (a count of 0 excludes it, "at most" excludes one more,
    an open count asks for one), relations become positions, and a prompt tagged "counting"
    excludes one more than it asks for, as GenEval's own prompts do.

    Raises:
        InputError: a GenEval record that is broken.
    """
    recorded = prompts.filter(pl.col("metadata").str.contains('"include"', literal=True))
    own = prompts.join(recorded, on="prompt_id", how="anti")
    include, exclude = _from_scenes(own)
    more_include: list[dict[str, Any]] = []
    more_exclude: list[dict[str, Any]] = []
    for prompt_id, metadata in recorded.select("prompt_id", "metadata").iter_rows():
        content = json.loads(metadata)
        record = content.get("geneval", content)
        try:
            more_include += _clauses(prompt_id, record)
            more_exclude += [
                {"prompt_id": prompt_id, "label": e["class"], "count": e["count"]}
                for e in record.get("exclude") or ()
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"prompt {prompt_id!r}: broken GenEval record ({error!r})") from None
    include = pl.concat([include, pl.DataFrame(more_include, schema=CLAUSES)])
    exclude = pl.concat([exclude, pl.DataFrame(more_exclude, schema=EXCLUDED)])
    odd = (
        include.filter(pl.col("relation").is_not_null() & ~pl.col("relation").is_in(POSITIONS))
        .group_by("prompt_id")
        .agg(
            pl.format(
                "GenEval has no position {}; it has left of, right of, above, below",
                pl.col("relation").first(),
            ).alias("why_not")
        )
    )
    # the most confident box of a class would be both
    twice = (
        include.join(own.select("prompt_id"), on="prompt_id", how="semi")
        .unique(["prompt_id", "clause"])
        .filter(pl.struct("prompt_id", "label").is_duplicated())
        .group_by("prompt_id")
        .agg(
            pl.format(
                "GenEval has no prompts with two clauses of one class ({})",
                pl.col("label").first(),
            ).alias("why_not")
        )
    )
    odd = pl.concat([odd, twice]).unique("prompt_id", keep="first", maintain_order=True)
    asked = include.select("prompt_id").unique().with_columns(pl.lit(True).alias("asked"))
    table = (
        prompts.select("prompt_id", "tag")
        .join(odd, on="prompt_id", how="left", maintain_order="left")
        .join(asked, on="prompt_id", how="left", maintain_order="left")
        .select(
            "prompt_id",
            "tag",
            pl.when(pl.col("asked").is_null())
            .then(pl.lit("the prompt asks for no object"))
            .otherwise(pl.col("why_not"))
            .alias("why_not"),
        )
    )
    return Request(table, include, exclude)


def _clauses(prompt_id: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for number, clause in enumerate(record["include"]):
        relation, target = clause.get("position") or (None, None)
        if target is not None and not 0 <= target < number:
            raise InputError(f"prompt {prompt_id!r}: position refers to clause {target}")
        rows.append(
            {
                "prompt_id": prompt_id,
                "clause": number,
                "label": clause["class"],
                "count": clause["count"],
                "wanted": clause.get("color"),
                "relation": relation,
                "target": target,
            }
        )
    return rows


def _from_scenes(prompts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    objects = (
        prompts.select("prompt_id", "tag", "objects")
        .with_columns(pl.int_ranges(pl.col("objects").list.len()).alias("clause"))
        .explode("objects", "clause")
        .filter(pl.col("objects").is_not_null())
        .with_columns(
            pl.col("objects").struct.field("name").alias("label"),
            pl.col("objects").struct.field("count").fill_null(1).alias("count"),
            pl.col("objects").struct.field("color").alias("wanted"),
            (pl.col("objects").struct.field("count_rule") == "at most")
            .fill_null(False)
            .alias("limit"),
        )
    )
    relations = (
        prompts.select("prompt_id", "relations")
        .explode("relations")
        .filter(pl.col("relations").is_not_null())
        # a clause stands in relation to another one ("each other" is not judged: `Scope`)
        .filter(
            pl.col("relations").struct.field("subject")
            != pl.col("relations").struct.field("object")
        )
        .select(
            "prompt_id",
            pl.col("relations").struct.field("subject").cast(pl.Int64).alias("clause"),
            pl.when(pl.col("relations").struct.field("negated").fill_null(False))
            .then(pl.format("not {}", pl.col("relations").struct.field("relation")))
            .otherwise(pl.col("relations").struct.field("relation"))
            .alias("relation"),
            pl.col("relations").struct.field("object").alias("target"),
        )
    )
    include = (
        objects.filter((pl.col("count") > 0) & ~pl.col("limit"))
        .join(relations, on=["prompt_id", "clause"], how="left", maintain_order="left")
        .select(pl.col(name).cast(dtype) for name, dtype in CLAUSES.items())
    )
    counting = (pl.col("tag") == "counting").fill_null(False)
    exclude = objects.filter((pl.col("count") == 0) | pl.col("limit") | counting).select(
        "prompt_id", "label", (pl.col("count") + 1).cast(pl.Int32).alias("count")
    )
    return include, exclude


@dataclass(frozen=True)
class Judged:
    """Clauses of images, judged.

    Attributes:
        images: image rows with `row, tag, why_not`.
        clauses: one row per image and clause: `row, clause, label, count, wanted, relation,
            target, target_label, found` (boxes of the class), `right` (of the `count` most
            confident, those of the wanted colour, `doubtful` ones among them; all without a wanted
            colour), `doubtful` (of which the colour expert cannot tell), `unknown` (without any
            colour), `exact` and `enough` (counts), and for positions `pairs, holding`
            (box pairs of the `count` most confident ones, those in relation), `direction` (of the
            worst pair along the relation, > 0.5 when it holds) and `mean_term` (mean over pairs
            of `direction` + 0.5, cut to [0, 1]).
        excluded: one row per image and excluded class: `row, label, count, found`.
        boxes: the boxes used, with `row, label, rank`.
    """

    images: pl.DataFrame
    clauses: pl.DataFrame
    excluded: pl.DataFrame
    boxes: pl.DataFrame


def judge_clauses(
    prompts: pl.DataFrame,
    detections: pl.DataFrame,
    *,
    threshold: float,
    counting_threshold: float,
    max_objects: int,
    max_overlap: float,
    position_threshold: float,
    things: bool = False,
) -> Judged:
    """Count, colour and position of every clause of every scored image.

    `things`: leave out parts of a thing and boxes around several (`duplicates.are_things`).
    """
    request = requests(prompts)
    images = join_prompts(detections, request.prompts)
    usable = images.filter((pl.col("status") == SCORED) & pl.col("why_not").is_null())
    limit = pl.when(pl.col("tag") == "counting").then(counting_threshold).otherwise(threshold)
    boxes = flat_boxes(usable, "tag").filter(pl.col("score") > limit).drop("tag")
    boxes = boxes.sort("row", "score", descending=[False, True], maintain_order=True)
    if max_overlap < 1.0:
        boxes = boxes.filter(_kept(boxes, max_overlap))
    if things:
        boxes = boxes.with_columns(pl.int_range(pl.len()).alias("place"))
        boxes = boxes.filter(~pl.col("place").is_in(not_things(boxes))).drop("place")
    boxes = boxes.with_columns(
        pl.int_range(pl.len()).over("row", "label").cast(pl.Int32).alias("rank")
    ).filter(pl.col("rank") < max_objects)
    rows = usable.select("row", "prompt_id")
    clauses = rows.join(request.include, on="prompt_id", how="inner").drop("prompt_id")
    clauses = _counts(clauses, boxes)
    clauses = _positions(clauses, boxes, position_threshold)
    number = boxes.group_by("row", "label").agg(pl.len().cast(pl.Int32).alias("found"))
    excluded = (
        rows.join(request.exclude, on="prompt_id", how="inner")
        .drop("prompt_id")
        .join(number, on=["row", "label"], how="left")
        .with_columns(pl.col("found").fill_null(0))
    )
    return Judged(images.drop("detections"), clauses, excluded, boxes)


def _counts(clauses: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
    found = boxes.group_by("row", "label").agg(pl.len().cast(pl.Int32).alias("found"))
    colored = (
        clauses.filter(pl.col("wanted").is_not_null())
        .unique(["row", "clause"])
        .join(boxes.select("row", "label", "rank", "color"), on=["row", "label"])
        .filter(pl.col("rank") < pl.col("count"))
    )
    fits = colored.select("wanted", "color").drop_nulls().unique()
    fits = fits.with_columns(
        pl.Series("fit", [color_fit(*pair) for pair in fits.iter_rows()], dtype=pl.Boolean),
        pl.lit(True).alias("seen"),
    )
    candidates = (
        colored.join(fits, on=["wanted", "color"], how="left")
        .group_by("row", "clause")
        .agg(
            # what the expert cannot tell is not held against the image: see `doubtful`
            (pl.col("seen") & pl.col("fit").fill_null(True)).sum().cast(pl.Int32).alias("right"),
            (pl.col("seen") & pl.col("fit").is_null()).sum().cast(pl.Int32).alias("doubtful"),
            pl.col("color").is_null().sum().cast(pl.Int32).alias("unknown"),
        )
    )
    plain = pl.col("wanted").is_null()
    most = pl.min_horizontal("found", "count")
    return (
        clauses.join(found, on=["row", "label"], how="left")
        .join(candidates, on=["row", "clause"], how="left")
        .with_columns(pl.col("found", "right", "unknown", "doubtful").fill_null(0))
        .with_columns(
            pl.when(plain).then(most).otherwise("right").alias("right"),
            (pl.col("found") >= pl.col("count")).alias("enough"),
            (pl.col("found") == pl.col("count")).alias("exact"),
        )
    )


def _positions(clauses: pl.DataFrame, boxes: pl.DataFrame, threshold: float) -> pl.DataFrame:
    labels = clauses.select("row", "clause", "label", "count").unique(["row", "clause"])
    asked = clauses.filter(pl.col("relation").is_not_null()).select(
        "row", "clause", "label", "count", "relation", "target"
    )
    asked = asked.join(
        labels.rename({"clause": "target", "label": "target_label", "count": "target_count"}),
        on=["row", "target"],
    )
    corners = ["x1", "y1", "x2", "y2"]
    pairs = (
        asked.join(boxes.select("row", "label", "rank", *corners), on=["row", "label"])
        .filter(pl.col("rank") < pl.col("count"))
        .join(
            boxes.select(
                "row",
                pl.col("label").alias("target_label"),
                pl.col("rank").alias("target_rank"),
                *[pl.col(c).alias(f"target_{c}") for c in corners],
            ),
            on=["row", "target_label"],
        )
        .filter(pl.col("target_rank") < pl.col("target_count"))
    )
    direction = pl.Series("direction", _along(pairs, threshold), dtype=pl.Float64)
    judged = (
        pairs.with_columns(direction)
        .group_by("row", "clause", "relation", "target")
        .agg(
            pl.len().cast(pl.Int32).alias("pairs"),
            (pl.col("direction") > 0.5).sum().cast(pl.Int32).alias("holding"),
            pl.col("direction").min(),
            (pl.col("direction") + 0.5).clip(0, 1).mean().alias("mean_term"),
        )
    )
    keys = ["row", "clause", "relation", "target"]
    return (
        clauses.join(
            asked.select(*keys, "target_label"), on=keys, how="left", maintain_order="left"
        )
        .join(judged, on=keys, how="left", maintain_order="left")
        .with_columns(pl.col("pairs", "holding").fill_null(0))
        .sort("row", "clause", maintain_order=True)
    )


def _along(pairs: pl.DataFrame, threshold: float) -> Floats:
    a = Boxes(*(pairs[c].to_numpy() for c in ("x1", "y1", "x2", "y2")))
    b = Boxes(*(pairs[f"target_{c}"].to_numpy() for c in ("x1", "y1", "x2", "y2")))
    x, y = geneval_direction(a, b, threshold)
    relation = pairs["relation"].to_numpy()
    return np.select([relation == name for name in POSITIONS], [-x, x, -y, y], default=0.0)


def _kept(boxes: pl.DataFrame, max_overlap: float) -> pl.Series:
    """GenEval's optional suppression: within a class, no box overlaps a kept better one."""
    keep = np.ones(len(boxes), dtype=bool)
    corners = boxes.select("x1", "y1", "x2", "y2").to_numpy()
    groups = boxes.with_row_index("at").group_by("row", "label", maintain_order=True).agg("at")
    for places in groups["at"].to_list():
        kept: list[int] = []
        for place in places:
            overlaps = any(
                pixel_iou(corners[place], corners[other]) >= max_overlap for other in kept
            )
            keep[place] = not overlaps
            if not overlaps:
                kept.append(place)
    return pl.Series(keep)


def pixel_iou(a: Floats, b: Floats) -> float:
    """IoU of two boxes (4,) whose sides count one pixel more, as GenEval's.

    >>> pixel_iou(np.array([0.0, 0, 10, 10]), np.array([5.0, 0, 15, 10]))
    0.375
    """

    def area(x1: float, y1: float, x2: float, y2: float) -> float:
        return max(x2 - x1 + 1, 0.0) * max(y2 - y1 + 1, 0.0)

    common = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    return float(common / (area(*a) + area(*b) - common))
