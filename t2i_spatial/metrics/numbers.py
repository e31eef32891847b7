"""The numbers of a protocol as sums over images, for what works on any of them: pairs, stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from t2i_spatial.statistics.intervals import Floats, cluster_codes
from t2i_spatial.tables import NOT_APPLICABLE, SCORED


@dataclass(frozen=True)
class Rate:
    """One published number: sum(numerator) / sum(denominator) over the images of a protocol.

    Attributes:
        numerator: `value`, `correct` or the name of a component, in [0, 1].
        denominator: a component; `None` counts every image that has the numerator.
        at_least: instead, the share of prompts with at least so many (correct) images.
        by_tag: instead, the unweighted mean of the tags' ratios.
    """

    numerator: str
    denominator: str | None = None
    at_least: int | None = None
    by_tag: bool = False


def rate_rows(
    verdicts: pl.DataFrame, parts: Sequence[str], rate: Rate, *, allow_missing: bool = False
) -> tuple[Floats, Floats]:
    """Numerator and denominator of every row of a VERDICTS table: (n,), (n,).

    Rows that the protocol does not apply to have denominator 0. Images without a score count as
    failures, or have denominator 0 with `allow_missing`. `at_least` and `by_tag` are not looked
    at: see `per_prompt` and `tag_weights`.
    """
    scored = pl.col("status") == SCORED
    counted = scored if allow_missing else pl.col("status") != NOT_APPLICABLE
    above = _column(rate.numerator, parts)
    below = (
        (above.is_not_null() | ~scored).cast(pl.Float64)
        if rate.denominator is None
        else _column(rate.denominator, parts)
    )
    rows = verdicts.select(
        pl.when(counted).then(above).fill_null(0.0).alias("above"),
        pl.when(counted).then(below).fill_null(0.0).alias("below"),
    )
    below_array = rows["below"].to_numpy()
    return np.where(below_array > 0, rows["above"].to_numpy(), 0.0), below_array


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
