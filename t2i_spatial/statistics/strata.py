"""Weighted sums of numbers of separate groups, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.intervals import Interval


def weighted_sum(parts: Sequence[Interval], weights: Sequence[float]) -> Interval:
    """The weighted sum of independent numbers.

    The interval recovers each part's variance from the distance of its own limits (MOVER: Zou and
    Donner 2008, Statistics in Medicine 27:1693), so it stays within what the parts' limits allow.

    Args:
        parts: of groups that share no rows.
        weights: one of each part, not negative.

    A part that is undefined makes the sum undefined.

    Raises:
        InputError: lengths differ, or a weight is negative.

    >>> half = Interval(0.5, 0.4, 0.6, 10, 10)
    >>> found = weighted_sum([half, half], [0.5, 0.5])
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.5, 0.429, 0.571)
    """
    if len(parts) != len(weights) or any(weight < 0 for weight in weights):
        raise InputError(f"{len(parts)} numbers need as many weights of at least 0, got {weights}")
    clusters, rows = sum(p.n_clusters for p in parts), sum(p.n for p in parts)
    known = [
        (weight, part.value, part.low, part.high)
        for weight, part in zip(weights, parts, strict=True)
        if part.value is not None and part.low is not None and part.high is not None
    ]
    if not parts or len(known) < len(parts):
        return Interval(None, None, None, clusters, rows)
    value = sum(weight * v for weight, v, _, _ in known)
    below = sqrt(sum((weight * (v - low)) ** 2 for weight, v, low, _ in known))
    above = sqrt(sum((weight * (high - v)) ** 2 for weight, v, _, high in known))
    return Interval(value, value - below, value + above, clusters, rows)
