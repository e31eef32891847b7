"""T2I-CompBench's 2D spatial score, and a variant without its traps.

Re-implemented from the formulas of Karine-Huang/T2I-CompBench @ 1b70949 (`UniDet_eval`); Huang et
al., "T2I-CompBench++", section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from typing_extensions import override

from t2i_spatial.metrics.base import PROTOCOLS, Metric, Published
from t2i_spatial.metrics.duplicates import SAME_THING
from t2i_spatial.metrics.geometry import Floats, columns, iou
from t2i_spatial.metrics.in_part import Scope
from t2i_spatial.metrics.labels import PEOPLE, canonical_label, label_names
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.relations import protocol_rules, relation_scores
from t2i_spatial.metrics.tabular import (
    CORNERS,
    asked_pairs,
    evidence,
    flat_boxes,
    join_prompts,
    verdict_table,
)

PHRASES = (
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
)
"""Searched in the prompt in this order; the first that occurs is the relation."""


@dataclass(kw_only=True)
class PairScore(Metric):
    """Shared by the 2D and 3D scores: 1/4 of each confidence and 1/2 of the position."""

    # of two objects and one relation, which its phrases judge or nothing does
    scope: ClassVar[Scope] = Scope(relations=None)
    parts: ClassVar[tuple[str, ...]] = ("position", "subject_score", "object_score")
    numbers: ClassVar[Numbers] = {
        "score": Rate("value", meaning="mean score", own_scale=True),
        "correct": Rate("correct", meaning="images with a score of at least 0.5"),
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {"relation": tuple(numbers)}
    phrases: ClassVar[tuple[str, ...]]
    """The peer's phrases in the order in which it looks for them."""

    def _asked(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """`subject, object` as the detector names them, `phrase` as the peer's rules do."""
        asked = asked_pairs(prompts).join(
            prompts.select("prompt_id", "text"), on="prompt_id", how="left", maintain_order="left"
        )
        said = pl.coalesce(
            pl.when(pl.col("text").str.contains(phrase, literal=True)).then(pl.lit(phrase))
            for phrase in self.phrases
        )
        known = list(protocol_rules(self.name))
        return asked.with_columns(
            pl.when(pl.col("subject").is_not_null())
            .then(
                pl.coalesce(said, pl.when(pl.col("relation").is_in(known)).then(pl.col("relation")))
            )
            .alias("phrase")
        ).drop("text")

    def _table(
        self, images: pl.DataFrame, position: Floats, failed: pl.Expr, cut: float
    ) -> pl.DataFrame:
        """From images with the chosen boxes (`subject_…`, `object_…`) and their positions."""
        images = images.with_columns(pl.Series("position", position, dtype=pl.Float64))
        found = [pl.col(f"{role}_score").is_not_null() for role in ("subject", "object")]
        both = found[0] & found[1]
        confidence = pl.sum_horizontal(
            pl.col("subject_score").fill_null(0.0), pl.col("object_score").fill_null(0.0)
        )
        place = pl.col("position").fill_nan(0.0)
        raw = confidence / 4 + pl.when(both).then(place / 2).otherwise(0.0)
        value = pl.when(raw < cut).then(0.0).otherwise(raw)
        correct = both & (raw >= 0.5)
        said = pl.format(
            "{} {} {}: position {}, confidences {} and {}",
            "subject",
            "phrase",
            "object",
            place.round(2),
            pl.col("subject_score").round(2),
            pl.col("object_score").round(2),
        )
        reason = (
            pl.when(both)
            .then(said)
            .when(found[0])
            .then(pl.format("no {} found", "object"))
            .when(found[1])
            .then(pl.format("no {} found", "subject"))
            .otherwise(pl.format("neither {} nor {} found", "subject", "object"))
        )
        phrases = ", ".join(dict.fromkeys((*self.phrases, *protocol_rules(self.name))))
        return verdict_table(
            images,
            self.name,
            applicable=pl.col("phrase").is_not_null(),
            why_not=f"{self.name} judges one of these between two objects: {phrases}",
            failed=pl.when(both).then(failed),
            value=value,
            correct=correct,
            margin=raw - 0.5,
            reason=reason,
            evidence=evidence(images, {"subject": "subject_label", "object": "object_label"}),
            components={
                "position": place,
                "subject_score": pl.col("subject_score"),
                "object_score": pl.col("object_score"),
            },
        )

    def members(self, group: str, prompts: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.members`: relations are the peer's phrases."""
        asked = self._asked(prompts).select("prompt_id", pl.col("phrase").alias("member"))
        return asked.drop_nulls().sort("member", maintain_order=True)


def positions(protocol: str, images: pl.DataFrame, depth: bool = False) -> Floats:
    """Position score of the chosen boxes of every image, NaN where one is missing."""
    result = np.full(len(images), np.nan)
    corners = [f"{role}_{c}" for role in ("subject", "object") for c in CORNERS]
    complete = (
        images.drop("detections")
        .with_row_index("at")
        .drop_nulls([*corners, "phrase", "width", "height"])
    )
    for (phrase,), group in complete.group_by("phrase"):
        boxes = group.select(corners).to_numpy()
        result[group["at"].to_numpy()] = relation_scores(
            protocol,
            str(phrase),
            boxes[:, :4],
            boxes[:, 4:],
            image_size=(group["width"].to_numpy(), group["height"].to_numpy()),
            depth=(group["subject_depth"].to_numpy(), group["object_depth"].to_numpy())
            if depth
            else None,
        )
    return result


def first_boxes(images: pl.DataFrame, boxes: pl.DataFrame, role: str) -> pl.DataFrame:
    """`images` with the first of `boxes` per image as `<role>_label, _score, _depth, _x1 …`."""
    chosen = boxes.unique("row", keep="first", maintain_order=True).select(
        "row",
        *[
            pl.col(column).alias(f"{role}_{column}")
            for column in ("label", "score", "depth", *CORNERS)
        ],
    )
    return images.join(chosen, on="row", how="left", maintain_order="left")


def in_frame(images: pl.DataFrame) -> pl.DataFrame:
    """Boxes in the frame that the peer's detector sees.

    torchvision's `Resize(479, max_size=480)`: the short side becomes 479, unless the long one
    would exceed 480, which then becomes 480.
    """
    short, long = pl.min_horizontal("width", "height"), pl.max_horizontal("width", "height")
    grown = (479 * long // short).cast(pl.Int64)
    over = grown > 480
    new_short = pl.when(over).then((480 * 479 / grown).floor()).otherwise(479)
    new_long = pl.when(over).then(480).otherwise(grown)
    landscape = pl.col("width") >= pl.col("height")
    scale = {
        "x": pl.when(landscape).then(new_long).otherwise(new_short) / pl.col("width"),
        "y": pl.when(landscape).then(new_short).otherwise(new_long) / pl.col("height"),
    }
    return images.with_columns(
        (pl.col(f"{role}_{c}") * scale[c[0]]).alias(f"{role}_{c}")
        for role in ("subject", "object")
        for c in CORNERS
    )


SIZE_UNKNOWN = pl.when(pl.col("width").is_null() | pl.col("height").is_null()).then(
    pl.lit("the size of the image is not known, and this protocol measures in its frame")
)


@PROTOCOLS.register("t2i_compbench_2d")
@dataclass(kw_only=True)
class T2ICompBench2D(Published, PairScore):
    """The published 2D spatial score, quirks included.

    s = s_A / 4 + s_B / 4 + position / 2 with both objects, a quarter of the one confidence with
    one, and 0 whenever that is below 0.5. An object is the most confident box whose label equals
    the noun (girl, boy, man and woman are "person", as the peer's detector calls them, where none
    of the boxes has their own name, as ours calls them). The nouns and the pair come from the scene
    of the prompt, where the peer takes the first and the last noun that spaCy tags.

    `margin` is s before the cut, minus 0.5.
    """

    title: ClassVar[str] = "T2I-CompBench 2D"
    phrases: ClassVar[tuple[str, ...]] = PHRASES

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. A prompt whose phrase the peer does not know is judged by the
        rule of its canonical relation where there is one, else `not_applicable`.
        """
        images = join_prompts(detections, self._asked(prompts))
        images = images.with_columns(_peer_noun(role) for role in ("subject", "object"))
        boxes = flat_boxes(images, "subject", "object").sort(
            "row", "score", descending=[False, True], maintain_order=True
        )
        for role in ("subject", "object"):
            images = first_boxes(images, boxes.filter(pl.col("label") == pl.col(role)), role)
        position = positions(self.name, in_frame(images))
        return self._table(images, position, SIZE_UNKNOWN, cut=0.5)


def _peer_noun(role: str) -> pl.Expr:
    """`labels.peer_names`, for whole columns: the people's labels are all that it is about here."""
    labels = pl.col("detections").list.eval(pl.element().struct.field("label"))
    unnamed = ~labels.list.contains(pl.col(role)).fill_null(False)
    person = pl.col(role).is_in(list(PEOPLE)) & unnamed
    return pl.when(person).then(pl.lit("person")).otherwise(pl.col(role)).alias(role)


@PROTOCOLS.register("t2i_compbench_2d_fixed")
@dataclass(kw_only=True)
class T2ICompBench2DFixed(PairScore):
    """The 2D score without its traps; comparable with nobody's published numbers.

    Distances are shares of the image's long side (the peer's 150 of 480), "next to" needs to be
    near on both axes, "on top of" is scored like "on the top of", and labels match by the open
    alias table (sofa and couch, cow and "cattle, cow"). The rest is the peer's.
    """

    phrases: ClassVar[tuple[str, ...]] = PHRASES

    @override
    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        images = join_prompts(detections, self._asked(prompts))
        images = joint_boxes(images)
        return self._table(images, positions(self.name, images), SIZE_UNKNOWN, cut=0.5)


RIVALS = 8
"""Boxes of each object that are considered, the most confident first."""


def joint_boxes(images: pl.DataFrame) -> pl.DataFrame:
    """`images` with the most confident boxes of subject and object, two different things.

    A label that is the very word of one of the two is never taken for the other ("man" for
    "woman"). Where one box is all there is for both, it is the one whose word it is, or the
    subject.
    """
    boxes = with_canonical(flat_boxes(images, "subject", "object")).sort(
        "row", "score", descending=[False, True], maintain_order=True
    )
    boxes = boxes.with_columns(pl.int_range(pl.len()).alias("at"))
    own = {role: pl.col("label") == pl.col(role) for role in ("subject", "object")}
    means = {
        role: own[role]
        | (
            pl.col("same_as").list.contains(pl.col(f"{role}_same"))
            & ~own["subject"].fill_null(False)
            & ~own["object"].fill_null(False)
        )
        for role in own
    }
    sides = {
        role: boxes.filter(means[role]).filter(pl.int_range(pl.len()).over("row") < RIVALS)
        for role in own
    }
    pairs = sides["subject"].join(sides["object"], on="row", suffix="_object")
    corners = [pairs.select(CORNERS), pairs.select(f"{c}_object" for c in CORNERS)]
    overlap = iou(*(columns(c.to_numpy()) for c in corners))
    different = (pl.col("at") != pl.col("at_object")) & pl.Series(overlap <= SAME_THING)
    best = (
        pairs.filter(different)
        .with_columns((pl.col("score") + pl.col("score_object")).alias("both"))
        .sort("row", "both", descending=[False, True], maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
    )
    alone = pl.concat(
        [side.with_columns(pl.lit(role).alias("role")) for role, side in sides.items()]
    )
    alone = (
        alone.join(best, on="row", how="anti")
        .sort("row", "score", descending=[False, True], maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
    )
    chosen = {
        "subject": best.select("row", "at"),
        "object": best.select("row", pl.col("at_object").alias("at")),
    }
    for role, pair in chosen.items():
        ids = pl.concat([pair, alone.filter(pl.col("role") == role).select("row", "at")])
        images = first_boxes(images, boxes.join(ids, on=["row", "at"], how="semi"), role)
    return images


def with_canonical(boxes: pl.DataFrame) -> pl.DataFrame:
    """Adds `same_as` (names that the label stands for), `subject_same` and `object_same`."""
    names = pl.concat([boxes[c] for c in ("label", "subject", "object")]).drop_nulls().unique()
    table = pl.DataFrame(
        {
            "label": names,
            "same_as": [sorted(label_names(name)) for name in names],
            "same": [canonical_label(name) for name in names],
        },
        schema={"label": pl.String, "same_as": pl.List(pl.String), "same": pl.String},
    )
    result = boxes.join(
        table.select("label", "same_as"), on="label", how="left", maintain_order="left"
    )
    for role in ("subject", "object"):
        result = result.join(
            table.select(pl.col("label").alias(role), pl.col("same").alias(f"{role}_same")),
            on=role,
            how="left",
            maintain_order="left",
        )
    return result
