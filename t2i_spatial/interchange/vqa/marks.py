"""From marks to numbers: shares right, by group, of questions of which every variant must be right.

Rows are clustered by picture: questions about one picture are not independent.
"""

from __future__ import annotations

import polars as pl

from t2i_spatial.statistics.intervals import Interval, ratio_interval


def share(marks: pl.DataFrame, column: str = "right") -> Interval:
    """The share of rows that are right."""
    return ratio_interval(marks[column].cast(pl.Float64), [1.0] * len(marks), marks["image"])


def shares_by(marks: pl.DataFrame, column: str) -> dict[str, Interval]:
    """`share` of each group, those with the most questions first."""
    known = marks.drop_nulls(column)
    order = known.group_by(column, maintain_order=True).len().sort("len", descending=True)
    return {name: share(known.filter(pl.col(column) == name)) for name in order[column].to_list()}


def all_right(marks: pl.DataFrame, column: str, by: str = "every", of: float = 1.0) -> Interval:
    """The share of groups whose every row is right.

    Args:
        column: what makes the groups; rows without it are left out.
        by: the mark that counts.
        of: rows of a whole group, where the denominator is rows over `of` and a group with fewer
            rows counts as not right; 1 counts groups as they are.
    """
    groups = (
        marks.drop_nulls(column)
        .group_by(column, maintain_order=True)
        .agg(pl.col(by).min().cast(pl.Float64), pl.len().alias("rows"), pl.col("image").first())
    )
    if of == 1.0:
        return ratio_interval(groups[by], [1.0] * len(groups), groups["image"])
    size = groups["rows"] / of
    return ratio_interval((size >= 1).cast(pl.Float64) * groups[by], size, groups[column])
