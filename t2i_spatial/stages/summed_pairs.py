"""Verdicts of two runs, summed prompt by prompt: all that a comparison needs of them."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import Rate, into_unit, rate_rows
from t2i_spatial.stages.running_sums import keep_sum, total
from t2i_spatial.stages.verdict_pairs import JoinedVerdicts
from t2i_spatial.statistics.intervals import Floats
from t2i_spatial.statistics.paired import PairedSums, paired_sums
from t2i_spatial.tables import NOT_APPLICABLE, SCORED

Scale = tuple[float, float]
"""`low, span` of values that are moved into [0, 1]; see `metrics.numbers.into_unit`."""
UNIT: Scale = (0.0, 1.0)


@dataclass(frozen=True)
class Pairs:
    """How the images of two runs were paired.

    Attributes:
        prompts, images: pairs that the protocol applies to.
        only_a, only_b: images that the other run does not have.
        unscored_a, unscored_b: images among the pairs without a score.
    """

    prompts: int
    images: int
    only_a: int
    only_b: int
    unscored_a: int
    unscored_b: int


@dataclass(frozen=True)
class SummedPairs:
    """The pairs of one protocol in two runs.

    Attributes:
        metric: the protocol.
        pairs: how they were paired.
        sums: of the rows that a number is made of, by prompt; `of` finds them.
        tags: of every prompt, in the order of the sums.
        scales: of numbers without bounds, which are moved into [0, 1] before they are summed.
    """

    metric: Metric
    pairs: Pairs
    sums: Mapping[Rate, PairedSums]
    tags: pl.Series
    scales: Mapping[Rate, Scale]

    def of(self, rate: Rate) -> PairedSums:
        """The sums of a number, by prompt."""
        return self.sums[rows_of(rate)]

    def only(self, ids: pl.Series) -> SummedPairs:
        """Those of the prompts that are among `ids`."""
        sums = {rate: found.only(ids) for rate, found in self.sums.items()}
        first = next(iter(sums.values()))
        tags = self.tags.filter(_ids(self.sums).is_in(ids.implode()))
        images = int(first.counts[:, 0].sum())
        pairs = dataclasses.replace(self.pairs, prompts=len(tags), images=images)
        return dataclasses.replace(self, sums=sums, tags=tags, pairs=pairs)


def rows_of(rate: Rate) -> Rate:
    """The same for numbers that are made of the same rows, whatever is made of their sums."""
    return dataclasses.replace(rate, at_least=None, by_tag=False, meaning="", own_scale=False)


def sum_pairs(
    read: Callable[[], Iterable[JoinedVerdicts]], metric: Metric, allow_missing: bool
) -> SummedPairs:
    """Sum the pairs of two runs.

    Args:
        read: begins to read them; called twice for protocols with numbers that have no bounds.
        allow_missing: leave pairs without both scores out, instead of counting an image without
            a score as a failure.
    """
    rates = list(dict.fromkeys(rows_of(rate) for rate in metric.numbers.values()))
    scales = _scales(read, metric, [r for r in rates if not r.bounded], allow_missing)
    kept: dict[Rate, list[PairedSums]] = {rate: [] for rate in rates}
    tags: list[pl.DataFrame] = []
    only, unscored = [0, 0], [0, 0]
    for pairs in read():
        a, b, lost = _counted(pairs, allow_missing)
        only = [only[0] + pairs.only_a, only[1] + pairs.only_b]
        unscored = [unscored[0] + lost[0], unscored[1] + lost[1]]
        for rate in rates:
            sides = [_rows(side, metric, rate, scales.get(rate, UNIT)) for side in (a, b)]
            keep_sum(kept[rate], paired_sums(*sides[0], *sides[1], a["prompt_id"]), operator.add)
        keep_sum(tags, _first_tags(a), _both_tags)
    sums = {rate: total(found, operator.add) for rate, found in kept.items()}
    counts = Pairs(len(_ids(sums)), int(next(iter(sums.values())).counts[:, 0].sum()),
                   *only, *unscored)  # fmt: skip
    return SummedPairs(metric, counts, sums, total(tags, _both_tags)["tag"], scales)


def _scales(
    read: Callable[[], Iterable[JoinedVerdicts]],
    metric: Metric,
    rates: Sequence[Rate],
    allow_missing: bool,
) -> dict[Rate, Scale]:
    ends: dict[Rate, list[float]] = {rate: [] for rate in rates}
    for pairs in read() if rates else ():
        sides = _counted(pairs, allow_missing)[:2]
        for rate, found in ends.items():
            values = np.concatenate([rate_rows(side, metric.parts, rate)[0] for side in sides])
            found += [float(values.min(initial=0.0)), float(values.max(initial=1.0))]
    return {rate: into_unit(np.array(found)) for rate, found in ends.items()}


def _rows(table: pl.DataFrame, metric: Metric, rate: Rate, scale: Scale) -> tuple[Floats, Floats]:
    above, below = rate_rows(table, metric.parts, rate)
    if scale == UNIT:
        return above, below
    low, span = scale
    return np.clip((above - low * below) / span, 0, below), below


def _counted(
    pairs: JoinedVerdicts, allow_missing: bool
) -> tuple[pl.DataFrame, pl.DataFrame, list[int]]:
    """The rows that count, and how many of them have no score in A and in B."""
    applies = (pairs.a["status"] != NOT_APPLICABLE) & (pairs.b["status"] != NOT_APPLICABLE)
    a, b = pairs.a.filter(applies), pairs.b.filter(applies)
    unscored = [int((t["status"] != SCORED).sum()) for t in (a, b)]
    if allow_missing:
        both = (a["status"] == SCORED) & (b["status"] == SCORED)
        a, b = a.filter(both), b.filter(both)
    return a, b, unscored


def _first_tags(table: pl.DataFrame) -> pl.DataFrame:
    return table.group_by("prompt_id").agg(pl.col("tag").first()).sort("prompt_id")


def _both_tags(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    return _first_tags(pl.concat([a, b]))


def _ids(sums: Mapping[Rate, PairedSums]) -> pl.Series:
    return next(iter(sums.values())).ids
