"""How many prompts a comparison needs, before the images are made."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.intervals import Ids, cluster_codes, quantile


def prompts_needed(difference: float, sd: float, *, level: float = 0.95, power: float = 0.8) -> int:
    """Prompts for a paired comparison to detect `difference` with probability `power`.

    n = ((z_level + z_power) * sd / difference)^2, plus half the squared quantile for Student's t
    (Guenther 1981, The American Statistician 35:243).

    Args:
        difference: what to see, as a fraction (0.02 is two points); its sign does not matter.
        sd: standard deviation over prompts of the per-prompt difference, from `sd_of_pilot` or
            `sd_of_rates`.

    Raises:
        InputError: a difference of 0, a negative sd, or a probability outside (0, 1).

    >>> prompts_needed(0.02, 0.35)
    2406
    """
    if not 0 < abs(difference) <= 1:
        raise InputError(f"difference must be a fraction between 0 and 1, got {difference}")
    if sd < 0 or not math.isfinite(sd):
        raise InputError(f"sd must be at least 0, got {sd}")
    if not (0 < level < 1 and 0 < power < 1):
        raise InputError(f"level and power must be between 0 and 1, got {level} and {power}")
    z = quantile(0.5 + level / 2)
    n = ((z + quantile(power)) * sd / difference) ** 2 + z**2 / 2
    return max(2, math.ceil(n))


def detectable_difference(
    prompts: int, sd: float, *, level: float = 0.95, power: float = 0.8
) -> float:
    """The smallest difference that `prompts` prompts show with probability `power`.

    Raises:
        InputError: fewer than 3 prompts.

    >>> round(detectable_difference(2406, 0.35), 4)
    0.02
    """
    z = quantile(0.5 + level / 2)
    if prompts <= max(2, z**2 / 2):
        raise InputError(f"{prompts} prompts are too few for any comparison")
    return (z + quantile(power)) * sd / math.sqrt(prompts - z**2 / 2)


def sd_of_pilot(values_a: ArrayLike, values_b: ArrayLike, clusters: Ids) -> float:
    """Standard deviation over prompts of the per-prompt mean difference of two paired runs.

    Args:
        values_a, values_b, clusters: (n,) one row per pair of images.

    Raises:
        InputError: lengths differ, values are not finite, or fewer than two prompts.
    """
    change = np.asarray(values_b, dtype=np.float64) - np.asarray(values_a, dtype=np.float64)
    codes, count = cluster_codes(clusters)
    if change.shape != codes.shape or not np.isfinite(change).all():
        raise InputError("values of both runs and clusters must be finite and of the same length")
    if count < 2:
        raise InputError("a pilot needs at least two prompts")
    means = np.bincount(codes, weights=change) / np.bincount(codes)
    return float(np.std(means, ddof=1))


def sd_of_rates(
    rate_a: float, rate_b: float, *, samples: int, icc: float, shared: float = 0.0
) -> float:
    """The same from expected rates, when there is no pilot run.

    A prompt's mean over `samples` images varies by p (1 - p) (1 + (samples - 1) icc) / samples.

    Args:
        icc: intraclass correlation of images of one prompt, see `intraclass_correlation`.
        shared: correlation of prompt difficulty between the runs (0 = none, the safe guess;
            two checkpoints of one model are nearer to 1).

    Raises:
        InputError: a rate, icc or shared outside [0, 1], or no samples.

    >>> round(sd_of_rates(0.30, 0.32, samples=4, icc=0.3), 3)
    0.451
    """
    if samples < 1 or not all(0 <= x <= 1 for x in (rate_a, rate_b, icc, shared)):
        raise InputError("rates, icc and shared must be in [0, 1] and samples at least 1")
    spread_a, spread_b = rate_a * (1 - rate_a), rate_b * (1 - rate_b)
    own = (spread_a + spread_b) * (1 + (samples - 1) * icc) / samples
    common = 2 * shared * icc * math.sqrt(spread_a * spread_b)
    return math.sqrt(max(0.0, own - common))


def intraclass_correlation(values: ArrayLike, clusters: Ids) -> float | None:
    """Intraclass correlation of rows within clusters, one-way analysis of variance.

    (MSB - MSW) / (MSB + (n0 - 1) MSW) with n0 the adjusted mean cluster size (Ridout, Demetrio
    and Firth 1999, Biometrics 55:137), cut to [0, 1]. `None` when undefined: one cluster, no
    cluster with two rows, or constant values.

    Raises:
        InputError: lengths differ or values are not finite.

    >>> intraclass_correlation([1, 1, 0, 0], ["a", "a", "b", "b"])
    1.0
    """
    array = np.asarray(values, dtype=np.float64)
    codes, m = cluster_codes(clusters)
    if array.shape != codes.shape or not np.isfinite(array).all():
        raise InputError("values and clusters must be finite and of the same length")
    n = len(array)
    if m < 2 or n == m:
        return None
    sizes = np.bincount(codes)
    means = np.bincount(codes, weights=array) / sizes
    within = float(((array - means[codes]) ** 2).sum()) / (n - m)
    between = float((sizes * (means - array.mean()) ** 2).sum()) / (m - 1)
    size = (n - float((sizes**2).sum()) / n) / (m - 1)
    whole = between + (size - 1) * within
    if whole <= 0:
        return None
    return min(1.0, max(0.0, (between - within) / whole))
