"""Intervals for rates of images that come in groups: images of one prompt are one cluster.

Every protocol number of this package is a ratio of two sums over images (VISOR_cond: correct
images over images with both objects), a share of prompts (VISOR_n), or an unweighted mean of such
ratios (GenEval overall). Rows are reduced to one pair of sums per cluster first; the bootstrap
then resamples clusters, never images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CELLS = 2_000_000
"""Cells (resamples x clusters) drawn at once: bounds the memory of the bootstrap to tens of MB."""


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
    clusters: ArrayLike | Sequence[Any],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """sum(numerator) / sum(denominator) with an interval that resamples whole clusters.

    Args:
        numerator, denominator: (n,) per row, 0 <= numerator <= denominator. Rows that do not
            count have denominator 0.
        clusters: (n,) the prompt of each row, strings or integers.
        level: confidence level, in (0, 1).
        resamples: bootstrap resamples.
        seed: the same seed and rows give the same interval, in any order of rows.

    Empty input, or a denominator of 0 everywhere, gives value `None`.

    Raises:
        InputError: lengths differ, values are not finite, or a numerator is outside
            [0, denominator].

    >>> ratio_interval([1, 0, 1, 1], [1, 1, 1, 1], ["a", "a", "b", "b"]).value
    0.75
    >>> ratio_interval([], [], []).value is None
    True
    """
    return ratio_intervals(
        np.asarray(numerator, dtype=np.float64)[:, None],
        np.asarray(denominator, dtype=np.float64)[:, None],
        clusters,
        level=level,
        resamples=resamples,
        seed=seed,
    )[0]


def ratio_intervals(
    numerators: ArrayLike,
    denominators: ArrayLike,
    clusters: ArrayLike | Sequence[Any],
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
    above = np.asarray(numerators, dtype=np.float64)
    below = np.asarray(denominators, dtype=np.float64)
    if above.ndim != 2 or above.shape != below.shape:
        raise InputError(
            f"numerators {above.shape} and denominators {below.shape} must both be (n, k)"
        )
    codes, count = cluster_codes(clusters)
    if len(codes) != len(above):
        raise InputError(f"{len(codes)} cluster ids for {len(above)} rows")
    _check(above, below, level, resamples)
    return [
        _ratio(above[:, k], below[:, k], codes, count, level, resamples, seed)
        for k in range(above.shape[1])
    ]


def cluster_share_interval(
    values: ArrayLike,
    at_least: float,
    clusters: ArrayLike | Sequence[Any],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Share of clusters whose values sum to at least `at_least` (VISOR_n: n correct images).

    `values` is (n,); every cluster that occurs counts, so a prompt without a correct image needs
    a row with 0. `n` of the result is the number of rows.

    Raises:
        InputError: lengths differ or values are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    codes, count = cluster_codes(clusters)
    if array.shape != codes.shape:
        raise InputError(f"{len(codes)} cluster ids for {array.shape} values")
    if not np.isfinite(array).all():
        raise InputError("values must be finite")
    sums = np.bincount(codes, weights=array, minlength=count)
    share = ratio_interval(
        sums >= at_least,
        np.ones(count),
        np.arange(count),
        level=level,
        resamples=resamples,
        seed=seed,
    )
    return Interval(share.value, share.low, share.high, share.n_clusters, len(array))


def mean_of_ratios_interval(
    groups: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike | Sequence[Any]]],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Unweighted mean of one ratio per group (GenEval overall: the mean of its tags).

    Args:
        groups: name -> (numerator, denominator, clusters) as for `ratio_interval`. Clusters are
            resampled within their group; groups are independent of each other.

    No group, or a group with an empty denominator, gives value `None`.

    Raises:
        InputError: as `ratio_interval`.
    """
    sums: list[tuple[Floats, Floats]] = []
    rows = 0
    for numerator, denominator, clusters in groups.values():
        above = np.asarray(numerator, dtype=np.float64)
        below = np.asarray(denominator, dtype=np.float64)
        codes, count = cluster_codes(clusters)
        if not above.shape == below.shape == codes.shape:
            raise InputError("numerator, denominator and clusters must have the same length")
        _check(above, below, level, resamples)
        sums.append(_cluster_sums(above, below, codes, count))
        rows += int((below > 0).sum())
    total = sum(len(n) for n, _ in sums)
    if not sums or any(len(n) == 0 for n, _ in sums):
        return Interval(None, None, None, total, rows)
    value = float(np.mean([n.sum() / d.sum() for n, d in sums]))
    variance = sum(_variance(n, d) for n, d in sums) / len(sums) ** 2
    effective = total if variance == 0 else value * (1 - value) / variance
    if variance == 0 or not 0 < value < 1:
        low, high = wilson(value, float(total if not 0 < value < 1 else effective), level)
        return Interval(value, low, high, total, rows)
    rng = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for n, d in sums:
        drawn = resampled_sums(np.stack([n, d], axis=1), resamples, rng)
        means += drawn[:, 0] / drawn[:, 1]
    low, high = _percentiles(means / len(sums), level)
    return Interval(value, low, high, total, rows)


def wilson(value: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a rate seen in `n` (effective, need not be whole) trials.

    >>> low, high = wilson(0.0, 10)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.2775)
    """
    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    centre = (value + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (value * (1 - value) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half))


def cluster_codes(clusters: ArrayLike | Sequence[Any]) -> tuple[Ints, int]:
    """Whole numbers 0..m-1 for m distinct ids, in the ids' order, and m.

    Raises:
        InputError: an id is missing.
    """
    series = clusters if isinstance(clusters, pl.Series) else pl.Series(np.asarray(clusters))
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
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
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
        out[start : start + size] = weights @ rows
    return out


def _ratio(
    above: Floats,
    below: Floats,
    codes: Ints,
    count: int,
    level: float,
    resamples: int,
    seed: int,
) -> Interval:
    n, d = _cluster_sums(above, below, codes, count)
    rows = int((below > 0).sum())
    if len(d) == 0:
        return Interval(None, None, None, 0, rows)
    value = float(n.sum() / d.sum())
    if not 0 < value < 1 or _variance(n, d) == 0:
        low, high = wilson(value, float(len(n)), level)
        return Interval(value, low, high, len(n), rows)
    drawn = resampled_sums(np.stack([n, d], axis=1), resamples, np.random.default_rng(seed))
    low, high = _percentiles(drawn[:, 0] / drawn[:, 1], level)
    return Interval(value, low, high, len(n), rows)


def _cluster_sums(above: Floats, below: Floats, codes: Ints, count: int) -> tuple[Floats, Floats]:
    """Sums per cluster, of the clusters that have a denominator."""
    n: Floats = np.bincount(codes, weights=above, minlength=count).astype(np.float64)
    d: Floats = np.bincount(codes, weights=below, minlength=count).astype(np.float64)
    return n[d > 0], d[d > 0]


def _variance(n: Floats, d: Floats) -> float:
    """Linearised between-cluster variance of sum(n)/sum(d); 0 with a single cluster."""
    m = len(n)
    if m < 2:
        return 0.0
    residual = n - n.sum() / d.sum() * d
    return float(m / (m - 1) * (residual**2).sum() / d.sum() ** 2)


def _percentiles(values: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def _check(above: Floats, below: Floats, level: float, resamples: int) -> None:
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, got {level}")
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}")
    if not (np.isfinite(above).all() and np.isfinite(below).all()):
        raise InputError("numerators and denominators must be finite (a missing row is no number)")
    if (below < 0).any() or (above < 0).any() or (above > below + 1e-9).any():
        raise InputError("every row needs 0 <= numerator <= denominator")
