"""T2I-CompBench's numeracy score, and a variant with graded counts and whole-name matches.

Re-implemented from the formulas of Karine-Huang/T2I-CompBench @ 1b70949 (`UniDet_eval`).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from t2i_spatial.metrics.assignment import matches
from t2i_spatial.metrics.base import PROTOCOLS, Metric, Published, share
from t2i_spatial.metrics.duplicates import SAME_THING, not_things, second_boxes
from t2i_spatial.metrics.geometry import Floats
from t2i_spatial.metrics.in_part import Scope
from t2i_spatial.metrics.labels import PEER_WORDS, peer_names
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.tabular import (
    CORNERS,
    box_column,
    evidence_lists,
    flat_boxes,
    join_prompts,
    verdict_table,
)


@dataclass(kw_only=True)
class _Numeracy(Metric):
    scope: ClassVar[Scope] = Scope(counts=True)
    parts: ClassVar[tuple[str, ...]] = ("present", "counted")
    numbers: ClassVar[Numbers] = {
        "score": Rate("value", meaning="mean score", own_scale=True),
        "present": Rate("present", meaning="asked objects that were found"),
        "counted": Rate("counted", meaning="asked objects of the right number"),
        "correct": Rate("correct", meaning="images with every number exact"),
    }

    duplicate_overlap: float = share(0.9)
    """A box of the same label that overlaps a better one, or lies inside it, by more is dropped."""

    pixel: ClassVar[float]
    """What a side of n pixels counts beyond n."""

    @abc.abstractmethod
    def _noun(self, name: str) -> str:
        """What an object of the scene is looked for as."""

    @abc.abstractmethod
    def _names(self, label: str, nouns: set[str]) -> set[str]:
        """The asked nouns that a detector's label counts for."""

    @abc.abstractmethod
    def _term(self, found: pl.Expr, count: pl.Expr) -> pl.Expr:
        """Half of a clause's score that is for the number."""

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. The objects of the scene that have a number are asked; an article
        counts as one.
        """
        asked = _asked(prompts).with_columns(
            pl.col("name").map_elements(self._noun, return_dtype=pl.String).alias("noun")
        )
        totals = asked.group_by("prompt_id").agg(pl.len().alias("asked"))
        images = join_prompts(
            detections,
            prompts.select("prompt_id", "tag").join(
                totals, on="prompt_id", how="left", maintain_order="left"
            ),
        )
        usable = images.filter(pl.col("asked").is_not_null())
        boxes = flat_boxes(usable, "prompt_id").sort(
            "row", "score", descending=[False, True], maintain_order=True
        )
        boxes = self._labelled(boxes)
        clauses = self._answered(
            usable.select("row", "prompt_id").join(asked, on="prompt_id"), boxes
        )
        found = self._found(clauses, boxes)
        clauses = clauses.join(found, on=["row", "noun"], how="left").with_columns(
            pl.col("found").fill_null(0)
        )
        present = (pl.col("found") > 0).cast(pl.Float64)
        number = self._term(pl.col("found"), pl.col("count")).cast(pl.Float64)
        per_image = clauses.group_by("row").agg(
            present.mean().alias("present"),
            number.mean().alias("counted"),
            (pl.col("found") == pl.col("count")).all().alias("exact"),
            ((pl.col("found") - pl.col("count")).abs() / pl.col("count")).max().alias("off"),
            pl.format("{} of {} {}", "found", "count", "name").alias("said"),
        )
        images = images.join(per_image, on="row", how="left", maintain_order="left")
        return verdict_table(
            images,
            self.name,
            applicable=pl.col("asked").is_not_null(),
            why_not=f"{self.name} needs an object with a number",
            value=(pl.col("present") + pl.col("counted")) / 2,
            correct=pl.col("exact"),
            margin=pl.when(pl.col("exact")).then(1.0).otherwise(-pl.col("off")),
            reason=pl.col("said").list.join("; ") + pl.lit(" found"),
            evidence=_counted_boxes(boxes),
            components={name: pl.col(name) for name in self.parts},
        )

    def _labelled(self, boxes: pl.DataFrame) -> pl.DataFrame:
        """The boxes without duplicates of one label."""
        keep = _distinct(boxes, self.duplicate_overlap, self.pixel)
        return boxes.filter(pl.Series(keep, dtype=pl.Boolean))

    def _answered(self, clauses: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
        """Clauses (`row, name, noun`) with the noun that the detector answered by in each image."""
        return clauses

    def _found(self, clauses: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
        """`row, noun, found`: how many boxes count for each noun that is asked of an image."""
        named = boxes.join(self._meanings(clauses, boxes), on=["row", "label"])
        return (
            self._things(named).group_by("row", "noun").agg(pl.len().cast(pl.Int32).alias("found"))
        )

    def _things(self, named: pl.DataFrame) -> pl.DataFrame:
        """The boxes of a noun, each thing once; the peer does that by labels alone."""
        return named

    def _meanings(self, clauses: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
        """`row, label, noun`: which of the nouns that are asked of an image a label counts for."""
        asked = clauses.group_by("row").agg(pl.col("noun").unique().sort().alias("nouns"))
        seen = boxes.select("row", "label").unique().join(asked, on="row")
        seen = seen.with_columns(pl.col("nouns").list.join("\n").alias("key"))
        rows = [
            (key, label, noun)
            for key, label, nouns in seen.select("key", "label", "nouns")
            .unique(["key", "label"])
            .iter_rows()
            for noun in self._names(label, set(nouns))
        ]
        words = dict.fromkeys(("key", "label", "noun"), pl.String)
        meant = pl.DataFrame(rows, words, orient="row")
        return seen.join(meant, on=["key", "label"]).select("row", "label", "noun")


@PROTOCOLS.register("t2i_compbench_numeracy")
@dataclass(kw_only=True)
class T2ICompBenchNumeracy(Published, _Numeracy):
    """Mean over the asked objects of half for being there and half for the exact number.

    A noun that is no detected label takes over every label that contains it ("pen" counts pencil
    cases). Duplicates are dropped at IoU or containment above 0.9, sides counting a pixel more.
    The objects come from the scene, where the peer looks number words up in its list of nouns.
    """

    title: ClassVar[str] = "T2I-CompBench numeracy"
    pixel: ClassVar[float] = 1.0

    def _noun(self, name: str) -> str:
        return PEER_WORDS.get(name, name)

    def _answered(self, clauses: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
        renamed = clauses.filter(pl.col("noun") != pl.col("name"))
        if len(renamed) == 0:
            return clauses
        labels = dict(boxes.group_by("row").agg(pl.col("label").unique()).iter_rows())
        nouns = [
            peer_names(name, set(labels.get(row, ())), {name: noun})
            for row, name, noun in clauses.select("row", "name", "noun").iter_rows()
        ]
        return clauses.with_columns(pl.Series("noun", nouns, dtype=pl.String))

    def _names(self, label: str, nouns: set[str]) -> set[str]:
        return {noun for noun in nouns if noun in label}

    def _found(self, clauses: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
        exact = boxes.group_by("row", pl.col("label").alias("noun")).agg(
            pl.len().cast(pl.Int32).alias("exact")
        )
        # only where the noun itself is no label of this image do containing labels count
        return (
            super()
            ._found(clauses, boxes)
            .join(exact, on=["row", "noun"], how="left")
            .select("row", "noun", pl.coalesce("exact", "found").alias("found"))
        )

    def _term(self, found: pl.Expr, count: pl.Expr) -> pl.Expr:
        return found == count


@PROTOCOLS.register("t2i_compbench_numeracy_fixed")
@dataclass(kw_only=True)
class T2ICompBenchNumeracyFixed(_Numeracy):
    """The same with names matched whole (aliases allowed), graded counts and plain areas.

    Each noun has its own boxes ("man" and "woman"; two labels on one thing count once), and neither
    parts of a thing nor boxes around several count (`duplicates.are_things`).

    The number's half is 1 - |asked - found| / asked, not below 0, so that three of four cats are
    worth more than none. Comparable with no published numbers.
    """

    pixel: ClassVar[float] = 0.0

    def _noun(self, name: str) -> str:
        return name

    def _names(self, label: str, nouns: set[str]) -> set[str]:
        return {noun for noun in nouns if matches(label, noun, nouns)}

    duplicate_overlap: float = share(SAME_THING)
    """A box that overlaps a better one of its noun by a higher IoU is the same thing."""

    def _labelled(self, boxes: pl.DataFrame) -> pl.DataFrame:
        return boxes

    def _things(self, named: pl.DataFrame) -> pl.DataFrame:
        named = named.with_columns(pl.int_range(pl.len()).alias("place"))
        again = second_boxes(named, ("row", "noun"), self.duplicate_overlap)
        named = named.filter(~pl.col("place").is_in(again))
        return named.filter(~pl.col("place").is_in(not_things(named, ("row", "noun"))))

    def _term(self, found: pl.Expr, count: pl.Expr) -> pl.Expr:
        return (1 - (count - found).abs() / count).clip(0, 1)


def _counted_boxes(boxes: pl.DataFrame) -> pl.DataFrame:
    """Every box that was counted, or would have been had it been asked for."""
    items = boxes.select("row", pl.lit("counted").alias("role"), "label", "score")
    return evidence_lists(items.with_columns(box_column(boxes)))


def _asked(prompts: pl.DataFrame) -> pl.DataFrame:
    return (
        prompts.select("prompt_id", "objects")
        .explode("objects")
        .filter(pl.col("objects").is_not_null())
        .select(
            "prompt_id",
            pl.col("objects").struct.field("name"),
            pl.col("objects").struct.field("count"),
        )
        .filter((pl.col("count") > 0).fill_null(False))
    )


def _distinct(boxes: pl.DataFrame, limit: float, pixel: float) -> list[bool]:
    """Which boxes are no duplicate of a better one of the same label that was kept."""
    keep = [True] * len(boxes)
    corners = boxes.select(CORNERS).to_numpy()
    several = (
        boxes.with_row_index("at")
        .group_by("row", "label", maintain_order=True)
        .agg("at")
        .filter(pl.col("at").list.len() > 1)
    )
    for places in several["at"].to_list():
        kept, count = np.empty((len(places), 4)), 0
        for place in places:
            keep[place] = not is_duplicate(corners[place], kept[:count], limit, pixel).any()
            if keep[place]:
                kept[count] = corners[place]
                count += 1
    return keep


def is_duplicate(
    box: Floats, others: Floats, limit: float = 0.9, pixel: float = 1.0
) -> npt.NDArray[np.bool_]:
    """Whether a box (4,) and each of `others` (n, 4) overlap by more than `limit`, (n,).

    Overlap is the common area as a share of the union, of the one box, or of the other.

    >>> import numpy as np
    >>> others = np.array([[10.0, 10, 20, 20], [90, 0, 190, 100]])
    >>> is_duplicate(np.array([0.0, 0, 100, 100]), others)
    array([ True, False])
    """

    def area(x1: Floats, y1: Floats, x2: Floats, y2: Floats) -> Floats:
        return np.maximum(x2 - x1 + pixel, 0.0) * np.maximum(y2 - y1 + pixel, 0.0)

    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = area(low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    first, second = area(*box), area(*others.T)
    found = np.zeros(len(others), dtype=np.bool_)
    for whole in (first + second - common, np.broadcast_to(first, common.shape), second):
        share = np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)
        found |= share > limit
    return found
