"""Intervals for rates of images that come in groups: the images of one prompt are one cluster.

Every protocol number of this package is a ratio of two sums over images (VISOR_cond: correct
images over images with both objects), a share of prompts (VISOR_n), or an unweighted mean of such
ratios (GenEval overall). Rows are reduced to one pair of sums per cluster; the bootstrap resamples
clusters, never images.

The interval has Wilson's shape, with the number of independent trials that the bootstrap's
standard error is worth. Percentiles of the same resamples cover less than they promise (0.86 for
five prompts, 0.90 for rare outcomes) and call 0 of 10 certain; `docs/statistics.md` has the
measured coverage of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ids = ArrayLike | Sequence[Any]

CELLS = 2_000_000
"""Cells (resamples x clusters) drawn at once: bounds the memory of the bootstrap to ~50 MB."""


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval.

    Attributes:
        value: the estimate, `None` when undefined (an empty denominator), never NaN.
        low, high: the interval, `None` when `value` is.
        n_clusters: clusters (prompts) with a denominator > 0.
        n: rows (images) with a denominator > 0.
    """

    value: float | None
    low: float | None
    high: float | None
    n_clusters: int
    n: int


def ratio_interval(
    numerator: ArrayLike,
    denominator: ArrayLike,
    clusters: Ids,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """sum(numerator) / sum(denominator) with an interval that resamples whole clusters.

    With E the design effect (variance of the ratio under the cluster bootstrap, over that of as
    many independent rows), the interval is Wilson's for sum(denominator) / E trials and Student's
    quantile with one degree of freedom less than there are clusters. For counts E is at least 1
    and is averaged with the effect of fully correlated clusters, weighted like one of the clusters
    that hold the rarer outcome: 0 of 40 images of 10 prompts is 0 of 10, not 0 of 40 and not
    "0 ± 0". (Wilson with an effective sample size: Franco, Little, Louis and Slud 2019, Journal of
    Survey Statistics and Methodology 7:334; the averaging is ours.)

    Args:
        numerator, denominator: (n,) per row, 0 <= numerator <= denominator: an image (1 of 1, or
            a soft score of 1), or the sums over a prompt (3 of 4). Rows that do not count have
            denominator 0. Whole numbers are taken for counts of right and wrong images.
        clusters: (n,) the prompt of each row, strings or integers.
        level: confidence level, in (0, 1).
        resamples: bootstrap resamples.
        seed: the same seed and rows give the same interval, in any order of rows.

    Empty input, or a denominator of 0 everywhere, gives value `None`.

    Raises:
        InputError: lengths differ, values are not finite, a numerator is outside
            [0, denominator], or an id is missing.

    >>> ratio_interval([1, 0, 1, 1], [1, 1, 1, 1], ["a", "a", "b", "b"]).value
    0.75
    >>> ratio_interval([], [], []).value is None
    True
    """
    above, below, codes, count = checked_rows(numerator, denominator, clusters)
    check_settings(level, resamples, seed)
    return _ratio(above, below, codes, count, level, resamples, seed)


def ratio_intervals(
    numerators: ArrayLike,
    denominators: ArrayLike,
    clusters: Ids,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Interval]:
    """`ratio_interval` of k statistics over the same rows, each as if it were computed alone.

    Args:
        numerators, denominators: (n, k); a row that a statistic ignores has denominator 0 there.
        clusters: (n,).

    Raises:
        InputError: as `ratio_interval`.
    """
    above, below, codes, count = checked_rows(numerators, denominators, clusters, columns=True)
    check_settings(level, resamples, seed)
    return [
        _ratio(above[:, k], below[:, k], codes, count, level, resamples, seed)
        for k in range(above.shape[1])
    ]


def ratio_intervals_by(
    groups: Ids,
    numerator: ArrayLike,
    denominator: ArrayLike,
    clusters: Ids,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[Any, Interval]:
    """`ratio_interval` within each group of rows (a relation, a tag), keyed by sorted group.

    A row belongs to one group; rows that belong to several (an image to both its objects) are
    given once for each.

    Raises:
        InputError: as `ratio_interval`, or a group is missing.
    """
    above, below, codes, _ = checked_rows(numerator, denominator, clusters)
    check_settings(level, resamples, seed)
    labels = id_series(groups)
    group_codes, count = cluster_codes(labels)
    if len(group_codes) != len(codes):
        raise InputError(f"{len(group_codes)} groups for {len(codes)} rows")
    order = np.argsort(group_codes, kind="stable")
    names = labels.unique().sort().to_list() if count else []
    parts = np.split(order, np.searchsorted(group_codes[order], np.arange(1, count)))
    result = {}
    for name, part in zip(names, parts, strict=False):
        present, inside = np.unique(codes[part], return_inverse=True)
        result[name] = _ratio(
            above[part], below[part], inside, len(present), level, resamples, seed
        )
    return result


def cluster_share_interval(
    values: ArrayLike,
    at_least: float,
    clusters: Ids,
    *,
    level: float = 0.95,
) -> Interval:
    """Share of clusters whose values sum to at least `at_least` (VISOR_n: n correct images).

    `values` is (n,); every cluster that occurs counts, so a prompt without a correct image needs
    a row with 0. `n` of the result is the number of rows. Empty input gives value `None`.

    Clusters are independent draws of yes or no, so the interval is the exact one of Clopper and
    Pearson, which keeps its promise also where hardly any prompt succeeds.

    Raises:
        InputError: lengths differ, values are not finite, or an id is missing.

    >>> cluster_share_interval([1, 1, 0, 1], 2, ["a", "a", "b", "b"]).value
    0.5
    """
    array = np.asarray(values, dtype=np.float64)
    codes, count = cluster_codes(clusters)
    if array.shape != codes.shape:
        raise InputError(f"{len(codes)} cluster ids for values of shape {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("values must be finite; a missing image is no number")
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, got {level}")
    if count == 0:
        return Interval(None, None, None, 0, 0)
    yes = int((np.bincount(codes, weights=array, minlength=count) >= at_least).sum())
    low, high = clopper_pearson(yes, count, level)
    return Interval(yes / count, low, high, count, len(array))


def mean_of_ratios_interval(
    groups: Mapping[str, tuple[ArrayLike, ArrayLike, Ids]],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Unweighted mean of one ratio per group (GenEval overall: the mean of its tags).

    Clusters are resampled within their group and groups are independent, so the groups' own
    intervals combine by recovery of variances (MOVER: Zou and Donner 2008, Statistics in Medicine
    27:1693): low = mean - sqrt(sum (value_g - low_g)^2) / G, high likewise.

    Args:
        groups: name -> (numerator, denominator, clusters) as for `ratio_interval`.

    No group, or a group with an empty denominator, gives value `None`.

    Raises:
        InputError: as `ratio_interval`.
    """
    parts = [
        ratio_interval(*rows, level=level, resamples=resamples, seed=seed)
        for rows in groups.values()
    ]
    n_clusters, n = sum(p.n_clusters for p in parts), sum(p.n for p in parts)
    value, low, high = 0.0, 0.0, 0.0
    for part in parts:
        if part.value is None or part.low is None or part.high is None:
            return Interval(None, None, None, n_clusters, n)
        value += part.value
        low += (part.value - part.low) ** 2
        high += (part.high - part.value) ** 2
    if not parts:
        return Interval(None, None, None, 0, 0)
    value /= len(parts)
    return Interval(
        value,
        max(0.0, value - math.sqrt(low) / len(parts)),
        min(1.0, value + math.sqrt(high) / len(parts)),
        n_clusters,
        n,
    )


def wilson(
    value: float, n: float, level: float = 0.95, degrees: float | None = None
) -> tuple[float, float]:
    """Wilson's score interval for a rate seen in `n` (effective, need not be whole) trials.

    `degrees` of freedom use Student's quantile in place of the normal one.

    >>> low, high = wilson(0.0, 10)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.2775)
    """
    square = quantile(0.5 + level / 2, degrees) ** 2
    centre = (value + square / (2 * n)) / (1 + square / n)
    half = math.sqrt(square * (value * (1 - value) / n + square / (4 * n * n))) / (1 + square / n)
    return max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half))


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval for a rate seen in `n` independent trials.

    >>> low, high = clopper_pearson(0, 10)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.3085)
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return float(low), float(high)


def quantile(probability: float, degrees: float | None = None) -> float:
    """Quantile of the normal distribution, or of Student's with `degrees` of freedom."""
    # scipy.special takes a third of a second to import: only when a number is asked for
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if degrees is None else stdtrit(degrees, probability))


def probability_beyond(value: float, degrees: float | None = None) -> float:
    """Upper tail of the normal distribution, or of Student's with `degrees` of freedom."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(-value) if degrees is None else stdtr(degrees, -value))


def cluster_codes(clusters: Ids) -> tuple[Ints, int]:
    """Whole numbers 0..m-1 for the m distinct ids, in the ids' order, and m.

    Raises:
        InputError: an id is missing.
    """
    series = id_series(clusters)
    if series.len() == 0:
        return np.empty(0, dtype=np.int64), 0
    if series.null_count():
        raise InputError(f"{series.null_count()} rows have no cluster id")
    codes = series.rank("dense").to_numpy().astype(np.int64) - 1
    return codes, int(codes.max()) + 1


def resampled_sums(rows: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Column sums of `resamples` draws of m of the m rows with replacement: (resamples, k).

    Equal rows are drawn together: m draws from rows of T distinct kinds are one multinomial draw
    over the kinds, so 25,280 prompts with 15 kinds of outcome cost 15 cells a resample. Rows that
    are mostly distinct are drawn one by one. Memory is bounded by `CELLS` either way.
    """
    m, width = rows.shape
    kinds, counts = distinct_rows(rows)
    out = np.empty((resamples, width))
    if len(kinds) * 4 <= m:
        step = max(1, CELLS // len(kinds))
        for start in range(0, resamples, step):
            size = min(step, resamples - start)
            out[start : start + size] = rng.multinomial(m, counts / m, size=size) @ kinds
        return out
    step = max(1, CELLS // m)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, m, size=(size, m), dtype=np.int64)
        drawn += np.arange(size, dtype=np.int64)[:, None] * m
        weights = np.bincount(drawn.ravel(), minlength=size * m).reshape(size, m)
        out[start : start + size] = weights.astype(np.float64) @ rows
    return out


def distinct_rows(rows: Floats) -> tuple[Floats, Ints]:
    """Distinct rows in lexicographic order, and how often each occurs."""
    ordered = rows[np.lexsort(rows.T[::-1])]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(first)
    return ordered[starts], np.diff(np.append(starts, len(rows)))


def _ratio(
    above: Floats, below: Floats, codes: Ints, count: int, level: float, resamples: int, seed: int
) -> Interval:
    counted = below > 0
    n, d = cluster_sums(above, below, codes, count)
    m, trials = len(d), float(d.sum())
    if m == 0:
        return Interval(None, None, None, 0, 0)
    value = float(n.sum() / trials)
    # what fully correlated clusters would cost: the mean size of the cluster of a row
    worst = float((d**2).sum() / trials)
    spread = value * (1 - value) / trials
    effect = 0.0
    if m > 1 and spread > 0:
        drawn = resampled_sums(np.stack([n, d], axis=1), resamples, np.random.default_rng(seed))
        drawn = drawn[drawn[:, 1] > 0]
        effect = float(np.var(drawn[:, 0] / drawn[:, 1])) * m / (m - 1) / spread
    if are_counts(above, below):
        informative = min(int((n > 0).sum()), int((n < d).sum()))
        effect = (informative * max(effect, 1.0) + worst) / (informative + 1)
        effect = max(effect, 1.0)
    elif spread > 0:
        # one imaginary cluster at 0 and one at 1: failures may be rare without being impossible
        imaginary = (value**2 + (1 - value) ** 2) / m**2 / spread
        effect = min(effect + imaginary, max(effect, worst))
    else:
        effect = worst
    low, high = wilson(value, trials / effect, level, max(m - 1, 1))
    return Interval(value, low, high, m, int(counted.sum()))


def are_counts(above: Floats, below: Floats) -> bool:
    """Whether rows are right-or-wrong images or counts of them, and not soft scores."""
    return bool(np.all(count_rows(above, below)))


def count_rows(above: Floats, below: Floats) -> NDArray[np.bool_]:
    """(n,) `are_counts` of every single row."""
    whole = (above == np.round(above)) & (below == np.round(below))
    return np.asarray(whole | (above == 0) | (above == below))


def cluster_sums(above: Floats, below: Floats, codes: Ints, count: int) -> tuple[Floats, Floats]:
    """Sums of numerator and denominator per cluster, of the clusters that have a denominator."""
    n: Floats = np.bincount(codes, weights=above, minlength=count).astype(np.float64)
    d: Floats = np.bincount(codes, weights=below, minlength=count).astype(np.float64)
    return n[d > 0], d[d > 0]


def id_series(ids: Ids) -> pl.Series:
    """Ids as a column in which a missing one is null.

    Raises:
        InputError: they are neither all strings nor all integers.
    """
    if not isinstance(ids, pl.Series):
        try:
            ids = pl.Series(ids.tolist() if isinstance(ids, np.ndarray) else list(ids))  # type: ignore[arg-type]
        except (TypeError, pl.exceptions.PolarsError) as error:
            raise InputError(f"ids must all be strings or all be integers: {error}") from None
    return ids.fill_nan(None) if ids.dtype.is_float() else ids


def checked_rows(
    numerator: ArrayLike, denominator: ArrayLike, clusters: Ids, *, columns: bool = False
) -> tuple[Floats, Floats, Ints, int]:
    """Validated float64 numerator and denominator, cluster codes and the number of clusters.

    Raises:
        InputError: as `ratio_interval`.
    """
    above = np.asarray(numerator, dtype=np.float64)
    below = np.asarray(denominator, dtype=np.float64)
    if above.shape != below.shape or above.ndim != 1 + columns:
        shape = "(n, k)" if columns else "(n,)"
        raise InputError(
            f"numerator {above.shape} and denominator {below.shape} must both be {shape}"
        )
    codes, count = cluster_codes(clusters)
    if len(codes) != len(above):
        raise InputError(f"{len(codes)} cluster ids for {len(above)} rows")
    if not (np.isfinite(above).all() and np.isfinite(below).all()):
        raise InputError("numerator and denominator must be finite; a missing image is no number")
    slack = 1e-9 * np.maximum(below, 1.0)  # a mean of parts may exceed 1 by rounding
    if (above < -slack).any() or (above > below + slack).any():
        raise InputError("every row needs 0 <= numerator <= denominator")
    return np.clip(above, 0.0, below), below, codes, count


def check_settings(level: float, resamples: int, seed: int) -> None:
    """Refuse a confidence level outside (0, 1), fewer than 2 resamples, and a seed below 0."""
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, got {level}")
    if resamples < 2:
        raise InputError(f"resamples must be at least 2, got {resamples}")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed must be a whole number from 0 up, got {seed!r}")
