"""The numbers of a protocol, declared once: what each is a share of, and how it is made of images.

`Metric.numbers` holds one `Rate` for each published name. The summary, the tallies of a streamed
file, `compare`, `--precision`, the report and the tables of the documentation all read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from t2i_spatial.statistics.intervals import Floats, cluster_codes
from t2i_spatial.tables import IN_PART, NOT_APPLICABLE, SCORED

Numbers = Mapping[str, "Rate"]
"""Published name -> how it is made; the main one first."""


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How numbers are counted and how their intervals are made.

    Attributes:
        allow_missing: `False` counts an image without a score as a failure; `True` leaves it out,
            as the peers do.
        seed, resamples: of the bootstrap.
    """

    allow_missing: bool = False
    seed: int = 0
    resamples: int = 2000


DEFAULTS = Intervals()


@dataclass(frozen=True)
class Rate:
    """One published number: sum(numerator) / sum(denominator) over the images of a protocol.

    Attributes:
        numerator: `value`, `correct` or the name of a component, in [0, 1] unless not `bounded`.
        denominator: a component, 1 or 0: the images that count. `None` counts every image, also
            those without a score.
        meaning: what it is, in a few words, for the report and the documentation.
        at_least: instead, the share of prompts with at least so many (correct) images.
        by_tag: instead, the unweighted mean of the tags' ratios.
        optional: the numerator is a component that is null where a prompt does not ask for it;
            such images do not count.
        within: the numerator counts as 1 where it lies in this range, else as 0.
        if_right: images that were judged in part count as right: what the number can be at most,
            where the plain one counts that they are not.
        bounded: `False` for a mean of numbers outside [0, 1]; nothing can be said of such a
            number before all images are judged, so there is no `--precision` of it.
        own_scale: a mean of scores that are no probabilities of being right, which labels of right
            and wrong images cannot correct.
    """

    numerator: str
    denominator: str | None = None
    meaning: str = ""
    at_least: int | None = None
    by_tag: bool = False
    optional: bool = False
    within: tuple[float, float] | None = None
    if_right: bool = False
    bounded: bool = True
    own_scale: bool = False

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean over all images: only such a number has a value per prompt."""
        special = self.denominator is not None or self.at_least is not None or self.by_tag
        return not (special or self.optional)

    def terms(self, parts: Sequence[str]) -> tuple[pl.Expr, pl.Expr]:
        """Numerator and denominator over VERDICTS; both 0 where there is no score.

        An image that was judged in part was looked at, and is not right.
        """
        scored = pl.col("status").is_in([SCORED, IN_PART])
        above = _column(self.numerator, parts)
        if self.denominator is not None:
            below = _column(self.denominator, parts)
        else:
            below = above.is_not_null().cast(pl.Float64) if self.optional else pl.lit(1.0)
        if self.within is not None:
            above = above.is_between(*self.within).cast(pl.Float64)
        if self.if_right:
            open_ = pl.col("status") == IN_PART
            above = pl.when(open_).then(1.0).otherwise(above)
            below = pl.when(open_).then(1.0).otherwise(below)
        below = pl.when(scored).then(below).fill_null(0.0)
        return pl.when(below > 0).then(above).fill_null(0.0), below


def rate_rows(
    verdicts: pl.DataFrame, parts: Sequence[str], rate: Rate, *, allow_missing: bool = False
) -> tuple[Floats, Floats]:
    """Numerator and denominator of every row of a VERDICTS table: (n,), (n,).

    Rows that the protocol does not apply to have denominator 0. Images without a score count as
    failures, or have denominator 0 with `allow_missing`. `at_least` and `by_tag` are not looked
    at: see `per_prompt` and `tag_weights`.
    """
    above, below = rate.terms(parts)
    if rate.denominator is None and not allow_missing:
        lost = ~pl.col("status").is_in([SCORED, IN_PART, NOT_APPLICABLE])
        below = below + lost.cast(pl.Float64)
    rows = verdicts.select(above.alias("above"), below.alias("below"))
    return rows["above"].to_numpy(), rows["below"].to_numpy()


def into_unit(values: Floats) -> tuple[float, float]:
    """`low, span` such that (values - low) / span, and 0 and 1 likewise, lie in [0, 1]."""
    low = min(0.0, float(values.min(initial=0.0)))
    return low, max(1.0, float(values.max(initial=1.0))) - low


def per_prompt(above: Floats, below: Floats, clusters: pl.Series, at_least: int) -> Floats:
    """(m,) 1 where a prompt has `at_least` right images, 0 where not, NaN where none counts.

    All are NaN when no prompt has so many images at all: the share is undefined then.
    """
    codes, count = cluster_codes(clusters)
    right = np.bincount(codes, weights=above, minlength=count)
    images = np.bincount(codes, weights=below, minlength=count)
    if images.max(initial=0) < at_least:
        return np.full(count, np.nan)
    return np.where(images > 0, (right >= at_least).astype(np.float64), np.nan)


def tag_weights(below: Floats, tags: pl.Series) -> Floats:
    """(n,) weights that make every tag count the same, the largest 1."""
    codes, count = cluster_codes(tags.fill_null("other"))
    sizes = np.bincount(codes, weights=below, minlength=count)
    present = sizes[sizes > 0]
    if len(present) == 0:
        return np.ones(len(below))
    return np.asarray(present.min() / np.maximum(sizes, present.min()))[codes]


def _column(name: str, parts: Sequence[str]) -> pl.Expr:
    if name in ("value", "correct"):
        return pl.col(name).cast(pl.Float64)
    index = list(parts).index(name)
    return pl.col("components").list.get(index, null_on_oob=True).struct.field("value")
