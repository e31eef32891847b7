"""VISOR: were both objects drawn, and does any pair of them stand in the asked relation?

Source: microsoft/VISOR @ b9e368b (`visor.py` and the detection notebook); Gokhale et al.,
"Benchmarking Spatial Relationships in Text-to-Image Generation", section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from t2i_spatial.metrics.protocol import (
    PROTOCOLS,
    Protocol,
    Summary,
    counted,
    entry,
    image_counts,
    part,
)
from t2i_spatial.metrics.rates import Rate
from t2i_spatial.metrics.statistics import Interval, cluster_share_interval, ratio_intervals
from t2i_spatial.metrics.tabular import (
    asked_pairs,
    evidence,
    flat_boxes,
    join_prompts,
    verdict_table,
)
from t2i_spatial.tables import SCORED

RELATIONS = ("left of", "right of", "above", "below")


@PROTOCOLS.register("visor")
@dataclass(kw_only=True)
class VISOR(Protocol):
    """OA, VISOR_cond, VISOR_uncond and VISOR_1 … VISOR_4 over prompts of two objects.

    An image is right when some box of the subject and some box of the object, all with a score
    above `threshold`, have their centres in the strict order of the relation on its one axis.
    `margin` is the distance of the centres of the best such pair over the image side, negative
    when the order is the other one; -1 when an object was not found; null without image size.

    Denominators: `summarize(allow_missing=True)` is the peer's arithmetic over the images that
    have a score (VISOR_n: over the prompts that have one). Otherwise every expected image and
    every prompt counts, one without a score as "objects not found". VISOR_cond, a ratio over
    images with both objects, is the same either way.
    """

    name: ClassVar[str] = "visor"
    parts: ClassVar[tuple[str, ...]] = ("objects_found", "subject_found", "object_found")
    rates: ClassVar[Mapping[str, Rate]] = {
        "VISOR_uncond": Rate("value"),
        "VISOR_cond": Rate("value", "objects_found"),
        "OA": Rate("objects_found"),
        **{f"VISOR_{n}": Rate("value", at_least=n) for n in range(1, 5)},
    }

    threshold: float = 0.1
    """Boxes need a score above this (strictly: the peer drops a score of exactly 0.1)."""

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Protocol.judge`. Prompts without exactly two objects and one of the four relations
        are `not_applicable` ("and" and single-object prompts of SR2D too, as in the peer).
        """
        images = join_prompts(detections, asked_pairs(prompts))
        applicable = pl.col("relation").is_in(RELATIONS).fill_null(False)
        # t grows in the direction in which the object must lie from the subject
        centre = (
            pl.when(pl.col("relation").is_in(["left of", "right of"]))
            .then((pl.col("x1") + pl.col("x2")) / 2)
            .otherwise((pl.col("y1") + pl.col("y2")) / 2)
        )
        sign = pl.when(pl.col("relation").is_in(["left of", "above"])).then(1.0).otherwise(-1.0)
        boxes = (
            flat_boxes(images.filter(applicable), "relation", "subject", "object")
            .filter(pl.col("score") > self.threshold)
            .with_columns((sign * centre).alias("t"))
        )
        images = images.drop("detections")
        for role, descending in (("subject", False), ("object", True)):
            extreme = (
                boxes.filter(pl.col("label") == pl.col(role))
                .sort("row", "t", descending=[False, descending], maintain_order=True)
                .unique("row", keep="first", maintain_order=True)
                .select(
                    "row",
                    *[
                        pl.col(column).alias(f"{role}_{column}")
                        for column in ("t", "score", "x1", "y1", "x2", "y2")
                    ],
                )
            )
            images = images.join(extreme, on="row", how="left", maintain_order="left")
        found = [pl.col(f"{role}_t").is_not_null() for role in ("subject", "object")]
        both = found[0] & found[1]
        distance = pl.col("object_t") - pl.col("subject_t")
        holds = both & (distance > 0).fill_null(False)
        side = (
            pl.when(pl.col("relation").is_in(["left of", "right of"]))
            .then(pl.col("width"))
            .otherwise(pl.col("height"))
        )
        pixels = distance.abs().round(1).cast(pl.String)
        reason = (
            pl.when(holds)
            .then(pl.format("{} is {} {} by {} px", "subject", "relation", "object", pixels))
            .when(both & (distance == 0))
            .then(pl.format("{} is not {} {}: level", "subject", "relation", "object"))
            .when(both)
            .then(
                pl.format(
                    "{} is not {} {}: {} px the other way", "subject", "relation", "object", pixels
                )
            )
            .when(found[0])
            .then(pl.format("no {} found", "object"))
            .when(found[1])
            .then(pl.format("no {} found", "subject"))
            .otherwise(pl.format("neither {} nor {} found", "subject", "object"))
        )
        return verdict_table(
            images,
            self.name,
            applicable=applicable,
            why_not="visor judges left of, right of, above or below between two objects",
            value=holds,
            correct=holds,
            margin=pl.when(both).then(distance / side).otherwise(-1.0),
            reason=reason,
            evidence=evidence(images, {"subject": "subject", "object": "object"}),
            components=dict(zip(self.parts, (both, found[0], found[1]), strict=True)),
        )

    def summarize(
        self,
        verdicts: pl.DataFrame,
        prompts: pl.DataFrame,
        *,
        allow_missing: bool = False,
        seed: int = 0,
        resamples: int = 2000,
    ) -> Summary:
        """See `Protocol.summarize`.

        Beside the published names: `OA_A` and `OA_B` (subject, object found), `by_relation` and
        `by_object`. VISOR_n is `None` when no prompt was expected to have n images; the peer
        prints 0 then, as does `allow_missing`.
        """
        scored = (pl.col("status") == SCORED).cast(pl.Int64)
        rows = (
            counted(verdicts, allow_missing=False)
            .group_by("prompt_id", maintain_order=True)
            .agg(
                pl.col("value").fill_null(0.0).sum().alias("right"),
                *[part(self.parts, name).fill_null(0.0).sum().alias(name) for name in self.parts],
                scored.sum().alias(SCORED),
                pl.len().cast(pl.Int64).alias("expected"),
            )
            .with_columns(pl.col(SCORED if allow_missing else "expected").alias("images"))
            .join(asked_pairs(prompts).drop("tag"), on="prompt_id", maintain_order="left")
        )
        options: dict[str, Any] = {"seed": seed, "resamples": resamples}
        full: dict[str, Any] = {
            "names": tuple(RATIOS),
            "at_least": range(1, 5),
            "zero": allow_missing,
        }
        summary = _numbers(rows, options, **full)
        summary["by_relation"] = {
            relation: _numbers(group, options, **full)
            for relation in RELATIONS
            if len(group := rows.filter(pl.col("relation") == relation))
        }
        second = rows.filter(pl.col("subject") != pl.col("object"))
        by_name = pl.concat(
            [rows.with_columns(name="subject"), second.with_columns(name="object")]
        ).partition_by("name", as_dict=True)
        summary["by_object"] = {
            name: _numbers(by_name[(name,)], options, tuple(RATIOS)[:3])
            for (name,) in sorted(by_name)
        }
        return summary | {"images": image_counts(verdicts)}


RATIOS = {
    "OA": ("objects_found", "images"),
    "VISOR_cond": ("right", "objects_found"),
    "VISOR_uncond": ("right", "images"),
    "OA_A": ("subject_found", "images"),
    "OA_B": ("object_found", "images"),
}
"""Published name -> sums over images whose ratio it is."""


def _numbers(
    rows: pl.DataFrame,
    options: dict[str, Any],
    names: Sequence[str],
    at_least: Sequence[int] = (),
    zero: bool = False,
) -> dict[str, Any]:
    """Numbers of prompts that are summed over their images; `zero`: VISOR_n beyond n images."""
    counts = {key: int(rows[key].sum()) for key in (SCORED, "expected")}
    most = max(rows["expected"], default=0)
    rows = rows.filter(pl.col("images") > 0)
    clusters = np.arange(len(rows))
    above, below = (
        rows.select(pl.col(RATIOS[n][k]).alias(n) for n in names).to_numpy() for k in (0, 1)
    )
    intervals = ratio_intervals(above, below, clusters, **options)
    found = {n: entry(i, len(rows), counts) for n, i in zip(names, intervals, strict=True)}
    numbers = {n: found.pop(n) for n in names[:3]}
    for n in at_least:
        share = Interval(None, None, None, 0, 0)
        if n <= most or zero:
            share = cluster_share_interval(rows["right"].to_numpy(), n, clusters, **options)
        numbers[f"VISOR_{n}"] = entry(share, len(rows), counts)
    return numbers | found
