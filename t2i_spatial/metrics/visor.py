"""VISOR: were both objects drawn, and does any pair of them stand in the asked relation?

Source: microsoft/VISOR @ b9e368b (`visor.py` and the detection notebook); Gokhale et al.,
"Benchmarking Spatial Relationships in Text-to-Image Generation", section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from t2i_spatial.metrics.base import PROTOCOLS, Published, share
from t2i_spatial.metrics.in_part import Scope
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.tabular import (
    asked_pairs,
    evidence,
    flat_boxes,
    join_prompts,
    verdict_table,
)

RELATIONS = ("left of", "right of", "above", "below")


@PROTOCOLS.register("visor")
@dataclass(kw_only=True)
class VISOR(Published):
    """OA, VISOR_cond, VISOR_uncond and VISOR_1 … VISOR_4 over prompts of two objects.

    An image is right when some box of the subject and some box of the object, all with a score
    above `threshold`, have their centres in the strict order of the relation on its one axis.
    `margin` is the distance of the centres of the best such pair over the image side, negative
    when the order is the other one; -1 when an object was not found; null without image size.

    Denominators: `summarize(allow_missing=True)` is the peer's arithmetic over the images that
    have a score (VISOR_n: over the prompts that have one). Otherwise every expected image and
    every prompt counts, one without a score as "objects not found". VISOR_cond, a ratio over
    images with both objects, is the same either way. VISOR_n is `None` when no prompt was
    expected to have n images; the peer prints 0 then, as does `allow_missing`.
    """

    scope: ClassVar[Scope] = Scope(relations=frozenset(RELATIONS))
    parts: ClassVar[tuple[str, ...]] = ("objects_found", "subject_found", "object_found")
    title: ClassVar[str] = "VISOR"
    numbers: ClassVar[Numbers] = {
        "VISOR_uncond": Rate("value", meaning="both objects found and in the right relation"),
        "VISOR_cond": Rate(
            "value", "objects_found", "right relation, among images with both objects"
        ),
        "OA": Rate("objects_found", meaning="both objects were found"),
        **{
            f"VISOR_{n}": Rate(
                "value", meaning=f"prompts with at least {n} right image{'s'[: n > 1]}", at_least=n
            )
            for n in range(1, 5)
        },
        "OA_A": Rate("subject_found", meaning="the subject was found"),
        "OA_B": Rate("object_found", meaning="the object was found"),
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {
        "relation": tuple(numbers),
        "object": ("VISOR_uncond", "VISOR_cond", "OA"),
    }

    threshold: float = share(0.1)
    """Boxes need a score above this (strictly: the peer drops a score of exactly 0.1)."""

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. Prompts without exactly two objects and one of the four relations
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
