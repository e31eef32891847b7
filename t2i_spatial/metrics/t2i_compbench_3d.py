"""T2I-CompBench's 3D spatial score ("in front of", "behind", "hidden by"), and a corrected one.

Re-implemented from the formulas of Karine-Huang/T2I-CompBench @ 1b70949 (`UniDet_eval`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from t2i_spatial.metrics.base import PROTOCOLS, Published
from t2i_spatial.metrics.t2i_compbench_2d import (
    PairScore,
    first_boxes,
    joint_boxes,
    positions,
)
from t2i_spatial.metrics.tabular import flat_boxes, join_prompts

PHRASES = ("in front of", "behind", "hidden")

DEPTH_UNKNOWN = (
    pl.when(pl.col("width").is_null() | pl.col("height").is_null())
    .then(pl.lit("the size of the image is not known"))
    .when(pl.col("subject_depth").is_null() | pl.col("object_depth").is_null())
    .then(pl.lit("the boxes have no depth; run the depth stage"))
)


@PROTOCOLS.register("t2i_compbench_3d")
@dataclass(kw_only=True)
class T2ICompBench3D(Published, PairScore):
    """The published 3D score on the depths that the detections carry.

    s = s_A / 4 + s_B / 4 + position / 2 with both objects, a quarter of the one confidence with
    one; no cut. An object is any box whose label contains the noun; scanning the boxes from the
    most confident on, every hit replaces the one before until both objects are set.

    The peer averages depth over a patch whose axes are swapped. Stored detections have one depth
    per box, so that quirk is in the numbers only if they were stored that way; on a depth map,
    `relation_scores("t2i_compbench_3d", …, depth=map)` reproduces it.

    `margin` is s - 0.5, `correct` is s >= 0.5; the peer itself names no cut.
    """

    title: ClassVar[str] = "T2I-CompBench 3D"
    phrases: ClassVar[tuple[str, ...]] = PHRASES

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. Boxes without depth make an image `detector_failed`."""
        images = join_prompts(detections, self._asked(prompts))
        boxes = (
            flat_boxes(images, "subject", "object")
            .sort("row", "score", descending=[False, True], maintain_order=True)
            .with_columns(
                pl.int_range(pl.len()).over("row").alias("at"),
                *[
                    pl.col("label").str.contains(pl.col(role), literal=True).alias(f"is_{role}")
                    for role in ("subject", "object")
                ],
            )
        )
        firsts = [
            pl.col("at").filter(pl.col(f"is_{role}")).min().over("row")
            for role in ("subject", "object")
        ]
        # scanning goes on to the end when one of the two never turns up
        stop = pl.when(firsts[0].is_not_null() & firsts[1].is_not_null()).then(
            pl.max_horizontal(*firsts)
        )
        scanned = boxes.filter((pl.col("at") <= stop).fill_null(True)).reverse()
        for role in ("subject", "object"):
            images = first_boxes(images, scanned.filter(pl.col(f"is_{role}")), role)
        return self._table(images, positions(self.name, images, depth=True), DEPTH_UNKNOWN, cut=0.0)


@PROTOCOLS.register("t2i_compbench_3d_fixed")
@dataclass(kw_only=True)
class T2ICompBench3DFixed(PairScore):
    """The 3D score with matching axes, whole-name matches by the alias table, most confident box.

    Overlap of exactly one half scores 1 (0 in the peer). Comparable with no published numbers.
    """

    phrases: ClassVar[tuple[str, ...]] = PHRASES

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. Boxes without depth make an image `detector_failed`."""
        images = join_prompts(detections, self._asked(prompts))
        images = joint_boxes(images)
        return self._table(images, positions(self.name, images, depth=True), DEPTH_UNKNOWN, cut=0.0)
