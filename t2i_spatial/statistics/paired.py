"""Two runs on the same prompts: difference, interval and p-value, prompt by prompt.

Rows are pairs of images, one of each run, of the same prompt and sample. Prompts are the clusters:
they are resampled for the interval and change sides, whole, for the p-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2i_spatial.statistics.intervals import (
    CELLS,
    Floats,
    Ids,
    are_counts,
    check_settings,
    checked_rows,
    distinct_rows,
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

    The p-value is that of the permutation test that swaps the runs within whole prompts: all 2^m
    ways are counted where they are no more than `resamples`, otherwise as many are drawn and
    p = (1 + extreme) / (1 + drawn).

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
    check_settings(level, resamples, seed)
    na, da, codes, count = checked_rows(numerator_a, denominator_a, clusters)
    nb, db, _, _ = checked_rows(numerator_b, denominator_b, clusters)
    gains, losses = _gains(na, da, nb, db)
    columns = [np.bincount(codes, weights=c, minlength=count) for c in (na, da, nb, db)]
    sums: Floats = np.stack(columns, axis=1).astype(np.float64)
    sums = sums[(sums[:, 1] > 0) | (sums[:, 3] > 0)]
    m, n = len(sums), int(((da > 0) | (db > 0)).sum())
    total = sums.sum(axis=0)
    a = float(total[0] / total[1]) if total[1] > 0 else None
    b = float(total[2] / total[3]) if total[3] > 0 else None
    if a is None or b is None:
        return Difference(a, b, None, None, None, None, gains, losses, m, n)
    rng = np.random.default_rng(seed)
    counts = are_counts(na, da) and are_counts(nb, db)
    low, high = _interval(sums, counts, level, resamples, rng)
    value = b - a
    return Difference(
        a,
        b,
        value,
        max(-1.0, min(low, value)),
        min(1.0, max(high, value)),
        _p_value(sums, resamples, rng),
        gains,
        losses,
        m,
        n,
    )


def _gains(na: Floats, da: Floats, nb: Floats, db: Floats) -> tuple[int, int]:
    both = (da > 0) & (db > 0)
    change = nb[both] / db[both] - na[both] / da[both]
    return int((change > 0).sum()), int((change < 0).sum())


def _interval(
    sums: Floats, counts: bool, level: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    size = sums[:, [1, 3]].mean(axis=0)
    imaginary = np.array([[size[0], size[0], 0, size[1]], [0, size[0], size[1], size[1]]])
    rows = np.concatenate([sums, imaginary])
    degrees = None if counts else max(len(sums) - 1, 1)
    error = _standard_error(rows, resamples, rng)
    centre = float(_difference(rows.sum(axis=0)[None])[0])
    half = quantile(0.5 + level / 2, degrees) * error
    return centre - half, centre + half


def _standard_error(rows: Floats, resamples: int, rng: np.random.Generator) -> float:
    if len(rows) < 2:
        return 0.0
    drawn = resampled_sums(rows, resamples, rng)
    drawn = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
    return float(np.std(_difference(drawn))) * math.sqrt(len(rows) / (len(rows) - 1))


def _p_value(sums: Floats, resamples: int, rng: np.random.Generator) -> float:
    """Permutation p-value of swapping (na, da) with (nb, db) within clusters."""
    total = sums.sum(axis=0)
    change = sums[:, [2, 3, 0, 1]] - sums
    moving = change[(change != 0).any(axis=1)]
    if len(moving) == 0:
        return 1.0
    observed = abs(_difference(total[None, :])[0])
    if 2 ** min(len(moving), 60) <= resamples:
        swaps = (np.arange(2 ** len(moving))[:, None] >> np.arange(len(moving))) & 1
        values = np.abs(_difference(total + swaps @ moving))
        return float(np.mean(_extreme(values, observed)))
    kinds, counts = distinct_rows(moving)
    extreme = 0
    step = max(1, CELLS // len(kinds))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        swapped = rng.binomial(counts, 0.5, size=(size, len(kinds)))
        values = np.abs(_difference(total + swapped @ kinds))
        extreme += int(_extreme(values, observed).sum())
    return (1 + extreme) / (1 + resamples)


def _difference(total: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total[:, 2] / total[:, 3] - total[:, 0] / total[:, 1])


def _extreme(values: Floats, observed: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    # an undefined difference counts as extreme: p can only become larger by it
    return np.asarray(np.isnan(values) | (values >= observed - 1e-12))
