"""SCOP: pairs of boxes whose spatial relation nobody would dispute.

Source: blurgyy/CoMPaSS @ 4b51c28 (Zhang et al., "CoMPaSS: Enhancing Spatial Understanding in
Text-to-Image Diffusion Models", the SCOP data engine). The five criteria are filters of their own
(`curation.filters.scop`); here are the pairs they look at and the relation words. It differs from
the source in what it reads (any boxes, not only COCO) and in what it says of refused pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from t2i_spatial.tables import KEY, SCORED

MIN_AREA = 1024.0
"""Boxes below 32 x 32 pixels are not looked at."""

OVERLAP_LIMIT = 1 / 3
"""Two boxes that overlap less than this on both axes get a compound relation."""


@dataclass(frozen=True)
class Thresholds:
    """The parameters of SCOP.

    Attributes:
        visual: least area of both boxes together, over the image area.
        clarity: largest distance of the centres, over the shorter of the two diagonals.
        overlap: the intersection must be below this share of the smaller box.
        size: least area of the smaller box over the larger one.
    """

    visual: float
    clarity: float
    overlap: float
    size: float


THRESHOLDS: Mapping[str, Thresholds] = {
    "published": Thresholds(visual=0.2, clarity=2.0, overlap=0.3, size=0.5),
    "best_geneval": Thresholds(visual=0.4009, clarity=1.0777, overlap=0.2321, size=0.4823),
}
"""The paper's thresholds, and a set in its code that was evidently tuned on GenEval."""


def make_pairs(
    objects: pl.LazyFrame, images: pl.LazyFrame, *, min_area: float = MIN_AREA
) -> pl.LazyFrame:
    """Every unordered pair of objects of one image as a candidate (see `curation.candidates`).

    Args:
        objects: `image_id`, `object_id`, `label`, `score`, `x`, `y`, `w`, `h` (upper left corner
            and size in pixels), one row per box, in the order in which they were annotated.
        images: `image_id`, `image`, `path`, `width`, `height`.
        min_area: smaller boxes are left out, in square pixels.

    Returns:
        A candidate per pair: `prompt_id` is the image id, `sample` numbers the pairs of the image
        (first with second, first with third, ...), `score` is the lower of the two. Further
        columns: `a_id`, `b_id`, `n_objects` (of the image, small ones included), and `words`, one
        or two ways to say where a stands (`relation_words`). An image with fewer than two boxes
        has no pair.
    """
    counted = objects.with_columns(pl.len().over("image_id").alias("n_objects"))
    large = counted.filter(pl.col("w") * pl.col("h") >= min_area).with_columns(
        pl.int_range(pl.len()).over("image_id").alias("place")
    )
    parts = ("id", "label", "score", "x", "y", "w", "h", "place")
    first = large.select(
        "image_id", "n_objects", *[_column(part).alias(f"a_{part}") for part in parts]
    )
    second = large.select("image_id", *[_column(part).alias(f"b_{part}") for part in parts])
    words = relation_words()
    return (
        first.join(second, on="image_id", how="inner", maintain_order="left_right")
        .filter(pl.col("a_place") < pl.col("b_place"))
        .join(images, on="image_id", how="inner", maintain_order="left")
        .with_columns(
            pl.col("image_id").cast(pl.String).alias("prompt_id"),
            pl.int_range(pl.len(), dtype=pl.Int32).over("image_id").alias("sample"),
            words.alias("words"),
            pl.min_horizontal("a_score", "b_score").alias("score"),
            pl.lit(SCORED).alias("status"),
            pl.lit(None, dtype=pl.String).alias("status_reason"),
            pl.col("a_label").alias("subject"),
            pl.col("b_label").alias("object"),
            words.list.first().alias("relation"),
        )
        .select(
            *KEY,
            "image",
            "path",
            "width",
            "height",
            "subject",
            "relation",
            "object",
            "words",
            "status",
            "status_reason",
            "score",
            "n_objects",
            *[f"{role}_{part}" for role in "ab" for part in ("id", "label", "x", "y", "w", "h")],
        )
    )


def _column(part: str) -> pl.Expr:
    return pl.col("object_id" if part == "id" else part)


def relation_words() -> pl.Expr:
    """Where box a stands relative to box b, in SCOP's words, as a list of one or two phrases.

    Uses `a_x`, `a_y`, `a_w`, `a_h` and the same of b. Boxes that overlap by less than a third on
    both axes get both relations in either order ("to the left of and above", "above and to the
    left of"); others the relation of the axis on which they overlap less, vertical on a tie. Of
    equal centres the first is right of and below, as in the source.
    """
    left = _centre("a", "x", "w") < _centre("b", "x", "w")
    above = _centre("a", "y", "h") < _centre("b", "y", "h")
    horizontal = pl.when(left).then(pl.lit("to the left of")).otherwise(pl.lit("to the right of"))
    vertical = pl.when(above).then(pl.lit("above")).otherwise(pl.lit("below"))
    overlap_x, overlap_y = _axis_overlap("x", "w"), _axis_overlap("y", "h")
    both = (overlap_x < OVERLAP_LIMIT) & (overlap_y < OVERLAP_LIMIT)
    return (
        pl.when(both)
        .then(
            pl.concat_list(
                pl.format("{} and {}", horizontal, vertical),
                pl.format("{} and {}", vertical, horizontal),
            )
        )
        .when(overlap_x < overlap_y)
        .then(pl.concat_list(horizontal))
        .otherwise(pl.concat_list(vertical))
    )


def clear_relation_words() -> pl.Expr:
    """`relation_words` where the boxes overlap by less than a third on an axis; else null.

    SCOP has an answer for every pair, also for a cat in the middle of a bed.
    """
    least = pl.min_horizontal(_axis_overlap("x", "w"), _axis_overlap("y", "h"))
    return pl.when(least < OVERLAP_LIMIT).then(relation_words())


INVERSE_WORDS: Mapping[str, str] = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}


def inverse_words(words: str) -> str:
    """The phrase from the other object's side.

    >>> inverse_words("to the left of and above")
    'to the right of and below'
    """
    return " and ".join(INVERSE_WORDS[part] for part in words.split(" and "))


def triples(subject: str, words: list[str], target: str) -> list[tuple[str, str, str]]:
    """All the ways SCOP says one pair: every phrase of a to b, then every one of b to a.

    >>> triples("cat", ["above"], "dog")
    [('cat', 'above', 'dog'), ('dog', 'below', 'cat')]
    """
    forth = [(subject, phrase, target) for phrase in words]
    return forth + [(target, inverse_words(phrase), subject) for phrase in words]


def area(role: str) -> pl.Expr:
    """Area of box `role` ("a" or "b")."""
    return pl.col(f"{role}_w") * pl.col(f"{role}_h")


def intersection() -> pl.Expr:
    """Area that both boxes cover, 0 when they do not meet."""
    width, height = _axis_intersection("x", "w"), _axis_intersection("y", "h")
    return pl.when((width > 0) & (height > 0)).then(width * height).otherwise(0.0)


def centre_distance() -> pl.Expr:
    """Distance of the centres of a and b."""
    dx = _centre("a", "x", "w") - _centre("b", "x", "w")
    dy = _centre("a", "y", "h") - _centre("b", "y", "h")
    return (dx * dx + dy * dy).sqrt()


def shorter_diagonal() -> pl.Expr:
    """The shorter of the diagonals of a and b."""
    w, h = pl.col("a_w"), pl.col("a_h")
    v, g = pl.col("b_w"), pl.col("b_h")
    return pl.min_horizontal((w * w + h * h).sqrt(), (v * v + g * g).sqrt())


def _centre(role: str, start: str, extent: str) -> pl.Expr:
    return pl.col(f"{role}_{start}") + pl.col(f"{role}_{extent}") / 2


def _axis_intersection(start: str, extent: str) -> pl.Expr:
    a, b = pl.col(f"a_{start}"), pl.col(f"b_{start}")
    end = pl.min_horizontal(a + pl.col(f"a_{extent}"), b + pl.col(f"b_{extent}"))
    return pl.max_horizontal(end - pl.max_horizontal(a, b), pl.lit(0.0))


def _axis_overlap(start: str, extent: str) -> pl.Expr:
    shorter = pl.min_horizontal(f"a_{extent}", f"b_{extent}")
    return _axis_intersection(start, extent) / shorter
