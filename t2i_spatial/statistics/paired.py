"""Two runs on the same prompts: difference, interval and p-value, prompt by prompt.

Rows are pairs of images, one of each run, of the same prompt and sample. Prompts are the clusters:
they are resampled for the interval and change sides, whole, for the p-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.statistics.intervals import (
    CELLS,
    Floats,
    Ids,
    Ints,
    check_settings,
    checked_rows,
    cluster_codes,
    count_rows,
    distinct_rows,
    id_series,
    probability_beyond,
    quantile,
    resampled_sums,
)


@dataclass(frozen=True)
class Difference:
    """A number of run B minus the same number of run A.

    Attributes:
        a, b: the number in each run, `None` when undefined.
        value: b - a, `None` when either is.
        low, high: confidence interval of the difference, `None` when `value` is.
        p: two-sided p-value of "the runs are exchangeable within prompts".
        gains, losses: rows where B is above A, and below.
        n_clusters, n: prompts and pairs of images.
    """

    a: float | None
    b: float | None
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    gains: int
    losses: int
    n_clusters: int
    n: int


def paired_difference(
    numerator_a: ArrayLike,
    denominator_a: ArrayLike,
    numerator_b: ArrayLike,
    denominator_b: ArrayLike,
    clusters: Ids,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """sum(num_b) / sum(den_b) - sum(num_a) / sum(den_a) over pairs of rows.

    The interval is difference ± quantile * standard error of the paired cluster bootstrap, after
    two imaginary prompts are added, one that A wins and one that B wins (Bonett and Price 2012,
    Journal of Educational and Behavioral Statistics 37:479, here with clusters): two runs without
    a single differing image do not differ by "0 ± 0". The quantile is the normal one for counts
    and Student's for soft scores.

    The p-value is the largest of three. The permutation test swaps the runs within whole prompts
    and recomputes the difference over its standard error, which holds also where denominators or
    variances of the runs differ (Janssen 1997, Statistics and Probability Letters 36:9); all 2^m
    ways are counted where they are no more than `resamples`, otherwise as many are drawn and
    p = (1 + extreme) / (1 + drawn). With k prompts that hold the rarer outcome it is at least
    2^(1 - k). And it is at least the p at which the interval would end at 0. The other way round,
    an interval is widened to hold 0 if p is above 1 - `level`.

    Args:
        numerator_a ... denominator_b: (n,) each, 0 <= numerator <= denominator.
        clusters: (n,) the prompt of each pair.

    Empty input, or an empty denominator in either run, gives value `None`.

    Raises:
        InputError: lengths differ, values are not finite or out of range, or an id is missing.

    >>> difference = paired_difference([0, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], ["x", "y", "z"])
    >>> round(difference.value, 3), difference.gains, difference.losses, difference.p
    (0.667, 2, 0, 0.5)
    """
    sums = paired_sums(numerator_a, denominator_a, numerator_b, denominator_b, clusters)
    return difference_of_sums(sums, level=level, resamples=resamples, seed=seed)


@dataclass(frozen=True)
class PairedSums:
    """What a paired difference needs of the rows: sums over those of each cluster.

    Sums of parts of the rows add up, so that no more than a part need be in memory.

    Attributes:
        ids: (m,) clusters, each once, sorted.
        sums: (m, 4) numerator and denominator of A and of B.
        counts: (m, 4) rows, rows with a denominator, rows where B is above A, and below.
        plain: (m,) whether all rows are right-or-wrong images (`intervals.are_counts`).
    """

    ids: pl.Series
    sums: Floats
    counts: Ints
    plain: NDArray[np.bool_]

    def __add__(self, other: PairedSums) -> PairedSums:
        """The sums of both; a cluster may have rows in either."""
        ids = pl.concat([self.ids, other.ids])
        codes, count = cluster_codes(ids)
        soft = np.bincount(codes, ~np.append(self.plain, other.plain), count) > 0
        return PairedSums(
            ids.unique().sort(),
            _by_cluster(np.concatenate([self.sums, other.sums]), codes, count),
            _by_cluster(np.concatenate([self.counts, other.counts]), codes, count).astype(np.int64),
            ~soft,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, ids: pl.Series) -> PairedSums:
        """Those of the clusters that are among `ids`."""
        chosen = self.ids.is_in(ids.implode()).to_numpy()
        return PairedSums(
            self.ids.filter(chosen), self.sums[chosen], self.counts[chosen], self.plain[chosen]
        )

    def weighted(self, a: Floats, b: Floats) -> PairedSums:
        """As if every row of A and of B had counted with the weight (m,) of its cluster."""
        weights = np.stack([a, a, b, b], axis=1)
        return PairedSums(self.ids, self.sums * weights, self.counts, self.plain)


def paired_sums(
    numerator_a: ArrayLike,
    denominator_a: ArrayLike,
    numerator_b: ArrayLike,
    denominator_b: ArrayLike,
    clusters: Ids,
) -> PairedSums:
    """The sums of some rows, for `difference_of_sums`; arguments as of `paired_difference`.

    Raises:
        InputError: as `paired_difference`.
    """
    ids = id_series(clusters)
    na, da, codes, count = checked_rows(numerator_a, denominator_a, ids)
    nb, db, _, _ = checked_rows(numerator_b, denominator_b, ids)
    above, below = _moves(na, da, nb, db)
    used = (da > 0) | (db > 0)
    soft = ~(count_rows(na, da) & count_rows(nb, db))
    counts = np.stack([np.ones(len(na)), used, above, below], axis=1)
    return PairedSums(
        ids.unique().sort(),
        _by_cluster(np.stack([na, da, nb, db], axis=1), codes, count),
        _by_cluster(counts, codes, count).astype(np.int64),
        ~(np.bincount(codes, soft, count) > 0),
    )


def difference_of_sums(
    found: PairedSums, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """`paired_difference` of rows that have been summed."""
    check_settings(level, resamples, seed)
    sums = found.sums
    sums = sums[(sums[:, 1] > 0) | (sums[:, 3] > 0)]
    _, n, gains, losses = (int(x) for x in found.counts.sum(axis=0))
    m = len(sums)
    total = sums.sum(axis=0)
    a = float(total[0] / total[1]) if total[1] > 0 else None
    b = float(total[2] / total[3]) if total[3] > 0 else None
    if a is None or b is None:
        return Difference(a, b, None, None, None, None, gains, losses, m, n)
    rng = np.random.default_rng(seed)
    value = b - a
    low, high, p = _bounds(sums, value, bool(found.plain.all()), level, resamples, rng)
    p = max(p, _permutation_p(sums, resamples, rng))
    if p > 1 - level:  # the test cannot exclude 0 then, and the interval must not
        low, high = min(low, 0.0), max(high, 0.0)
    return Difference(a, b, value, low, high, p, gains, losses, m, n)


def _by_cluster(rows: Floats | Ints, codes: Ints, count: int) -> Floats:
    columns = [np.bincount(codes, weights=column, minlength=count) for column in rows.T]
    return np.stack(columns, axis=1).astype(np.float64)


def _moves(
    na: Floats, da: Floats, nb: Floats, db: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) where B is above A, and where it is below."""
    both = (da > 0) & (db > 0)
    change = np.zeros(len(na))
    change[both] = nb[both] / db[both] - na[both] / da[both]
    return change > 0, change < 0


def _bounds(
    sums: Floats, value: float, counts: bool, level: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Low and high end of the interval, and the p-value at which it would end at 0."""
    rows = np.concatenate([sums, _imaginary(*sums[:, [1, 3]].mean(axis=0))])
    degrees = None if counts else max(len(sums) - 1, 1)
    error = _standard_error(rows, resamples, rng)
    centre = float(_difference(rows.sum(axis=0)[None])[0])
    half = quantile(0.5 + level / 2, degrees) * error
    p = 2 * probability_beyond(abs(centre) / error, degrees) if error > 0 else 1.0
    return max(-1.0, min(centre - half, value)), min(1.0, max(centre + half, value)), p


def _imaginary(size_a: float, size_b: float) -> Floats:
    """Two prompts of these numbers of images, one that A wins and one that B wins."""
    return np.array([[size_a, size_a, 0, size_b], [0, size_a, size_b, size_b]])


def _standard_error(rows: Floats, resamples: int, rng: np.random.Generator) -> float:
    drawn = resampled_sums(rows, resamples, rng)
    drawn = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
    return float(np.std(_difference(drawn))) * math.sqrt(len(rows) / (len(rows) - 1))


def _difference(total: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total[:, 2] / total[:, 3] - total[:, 0] / total[:, 1])


def _permutation_p(sums: Floats, resamples: int, rng: np.random.Generator) -> float:
    """p-value of the studentised difference when runs are swapped within clusters."""
    moments = _moments(sums)
    change = _moments(sums[:, [2, 3, 0, 1]]) - moments
    moves = (change != 0).any(axis=1)
    if not moves.any():
        return 1.0
    moving = change[moves]
    size = float(sums[:, [1, 3]].mean())  # of both, so that swaps are exchangeable
    total = (moments.sum(axis=0) + _moments(_imaginary(size, size)).sum(axis=0))[None]
    observed = abs(_studentised(total)[0])
    if 2 ** min(len(moving), 60) <= resamples:
        swaps = (np.arange(2 ** len(moving))[:, None] >> np.arange(len(moving))) & 1
        p = float(np.mean(_extreme(total + swaps @ moving, observed)))
    else:
        kinds, counts = distinct_rows(moving)
        extreme = 0
        step = max(1, CELLS // len(kinds))
        for start in range(0, resamples, step):
            size = min(step, resamples - start)
            swapped = rng.binomial(counts, 0.5, size=(size, len(kinds)))
            extreme += int(_extreme(total + swapped @ kinds, observed).sum())
        p = (1 + extreme) / (1 + resamples)
    return max(p, min(1.0, 2.0 ** (1 - _discordant(sums[moves]))))


def _extreme(moments: Floats, observed: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray(np.abs(_studentised(moments)) >= observed * (1 - 1e-9))


def _discordant(moving: Floats) -> int:
    """Clusters that can speak for one of the runs: those that hold the rarer outcome in either.

    Where denominators are equal, these are the clusters in which the runs differ.
    """
    na, da, nb, db = moving.T
    return min(int(((na > 0) | (nb > 0)).sum()), int(((na < da) | (nb < db)).sum()))


def _moments(rows: Floats) -> Floats:
    """What `_studentised` needs of every cluster, to be summed over clusters: (m, 14)."""
    na, da, nb, db = rows.T
    own = (na * na, na * da, da * da, nb * nb, nb * db, db * db)
    return np.stack([na, da, nb, db, *own, na * nb, na * db, nb * da, da * db], axis=1)


def _studentised(moments: Floats) -> Floats:
    """Difference of the ratios over its linearised standard error, (r,), from summed moments.

    The error is that of sum(num_b - b den_b) / sum(den_b) - sum(num_a - a den_a) / sum(den_a)
    over clusters. Two imaginary clusters are among them, so no denominator is 0.
    """
    na, da, nb, db, naa, nda, daa, nbb, ndb, dbb, nab, na_db, nb_da, dab = moments.T
    a, b = na / da, nb / db
    variance = (
        (naa - 2 * a * nda + a * a * daa) / da**2
        + (nbb - 2 * b * ndb + b * b * dbb) / db**2
        - 2 * (nab - b * na_db - a * nb_da + a * b * dab) / (da * db)
    )
    return np.asarray((b - a) / np.sqrt(np.maximum(variance, 1e-300)))
