"""What is counted of the boxes of a run, slice by slice, to tell whether they mean anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from t2i_spatial.metrics.base import Metric
from t2i_spatial.tables import SCORED

FEW = 50
"""Images, boxes or pairs below which nothing is said."""
AS_OFTEN = 0.5
"""Not asked names found at least so often, relative to asked ones, are no evidence."""
BOXES = 15.0
"""Boxes per asked name and image above which they are no things."""
NAMED = 0.25
"""Share of the asked names that must occur among the labels of all images."""


@dataclass(frozen=True)
class BoxCounts:
    """Counts of boxes; those of parts of a run add up.

    Attributes:
        looked: images with boxes or none, that a detector has looked at.
        pairs: asked names of all of them, each image counted on its own.
        boxes, above: boxes, and those with a score above what the protocol takes.
        hits, others: (image, name) with such a box, of names that were asked and of the others.
        labels: names among the boxes.
        lowest, highest: score of a box.
    """

    looked: int = 0
    pairs: int = 0
    boxes: int = 0
    above: int = 0
    hits: int = 0
    others: int = 0
    labels: frozenset[str] = frozenset()
    lowest: float = math.inf
    highest: float = -math.inf

    def __add__(self, other: BoxCounts) -> BoxCounts:
        return BoxCounts(
            self.looked + other.looked,
            self.pairs + other.pairs,
            self.boxes + other.boxes,
            self.above + other.above,
            self.hits + other.hits,
            self.others + other.others,
            self.labels | other.labels,
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
        )

    def said(self, names: pl.Series, least: float) -> Iterator[str]:
        """What a careful person would say of them.

        Args:
            names: all that the prompts ask for, each once.
            least: the score above which a box counts.
        """
        if self.looked < FEW or names.is_empty():
            return
        yield from self._not_told_apart(len(names))
        if self.pairs and self.above / self.pairs > BOXES:
            yield (
                f"{self.above / self.looked:,.0f} boxes an image with a score above {least:g}, "
                f"{self.above / self.pairs:,.0f} for every asked name: hardly all of them things"
            )
        if self.boxes >= FEW and self.highest - self.lowest < 1e-6:
            yield (
                f"all {self.boxes:,} boxes have the score {self.lowest:.3g}: no threshold tells "
                "sure ones from others"
            )
        known = len(self.labels.intersection(names))
        if len(names) >= 4 and known < NAMED * len(names):
            yield (
                f"{known:,} of {len(names):,} asked names occur among the labels of the boxes; do "
                "the labels have other names than the prompts?"
            )

    def _not_told_apart(self, names: int) -> Iterator[str]:
        """Are names that were not asked found about as often as asked ones?

        Only where boxes hold names that their prompt does not ask for.
        """
        other_pairs = self.looked * names - self.pairs
        if min(self.pairs, other_pairs) < FEW or not self.hits:
            return
        rate, other = self.hits / self.pairs, self.others / other_pairs
        if other > AS_OFTEN * rate:
            yield (
                f"names that were not asked are found in {100 * other:.0f} % of images, asked ones "
                f"in {100 * rate:.0f} %: the detector hardly tells them apart"
            )


def asked_names(prompts: pl.DataFrame) -> pl.DataFrame:
    """`prompt_id, label`: the names of objects that PROMPTS ask for, each once for a prompt."""
    return (
        prompts.select("prompt_id", pl.col("objects").alias("label"))
        .explode("label")
        .select("prompt_id", pl.col("label").struct.field("name").alias("label"))
        .drop_nulls()
        .unique()
    )


def found_boxes(detections: pl.DataFrame) -> pl.DataFrame:
    """`row, prompt_id, label, score` of every box of the scored images of DETECTIONS."""
    return (
        detections.filter(pl.col("status") == SCORED)
        .with_row_index("row")
        .select("row", "prompt_id", "detections")
        .explode("detections")
        .drop_nulls("detections")
        .select(
            "row",
            "prompt_id",
            pl.col("detections").struct.field("label"),
            pl.col("detections").struct.field("score"),
        )
    )


def least_score(protocol: Metric) -> float:
    """The score above which a box is a thing for a protocol."""
    settings = protocol.settings
    return float(next((settings[k] for k in ("threshold", "min_score") if k in settings), 0.0))


def count_boxes(
    boxes: pl.DataFrame,
    looked: pl.DataFrame,
    asked: pl.DataFrame,
    names: pl.Series,
    least: float,
) -> BoxCounts:
    """The counts of some images.

    Args:
        boxes: `found_boxes` of them.
        looked: `prompt_id` of every image that a detector has looked at.
        asked: `asked_names` of their prompts.
        names: those of all prompts of the run.
        least: the score above which a box counts.
    """
    above = boxes.filter(pl.col("score") > least)
    found = above.filter(pl.col("label").is_in(names.implode())).unique(["row", "label"])
    hits = len(found.join(asked, on=["prompt_id", "label"], how="semi"))
    per_prompt = asked.group_by("prompt_id").len("names")
    pairs = looked.join(per_prompt, on="prompt_id")["names"].sum()
    low, high = boxes["score"].min(), boxes["score"].max()
    return BoxCounts(
        len(looked),
        int(pairs or 0),
        len(boxes),
        len(above),
        hits,
        len(found) - hits,
        frozenset(boxes["label"].unique().drop_nulls()),
        math.inf if low is None else float(low),  # type: ignore[arg-type]
        -math.inf if high is None else float(high),  # type: ignore[arg-type]
    )
