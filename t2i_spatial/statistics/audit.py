"""Few human labels and many automatic verdicts: an unbiased number with a valid interval.

Every image has automatic scores f, some images a human label y. With e = y - weight * f, the
number is weight * mean(f) over all images + mean(e) over the labelled ones, each label weighted by
one over the probability with which its image was chosen: prediction-powered inference
(Angelopoulos et al. 2023, arXiv 2301.09633; fitted weight: 2311.01453), which for labelled images
that are a subset of the scored ones is the regression estimator of survey sampling (Särndal,
Swensson and Wretman 1992, Model Assisted Survey Sampling, ch. 6). Whatever the automatic scores are
worth, the number is right on average; good ones make the interval shorter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.intervals import Floats, Ids, Ints, cluster_codes, quantile

Target = Literal["model", "images"]
"""What the number is of: the model (other prompts and seeds of the kind), or these images alone."""

MOST_WEIGHT = 1.5
FOLDS = 5
FIT_TOGETHER = 3
"""Weights of so many witnesses are fitted on all labels at once, of more by cross-fitting."""
RIDGE_BELOW = 20
"""With fewer labels than so many per witness, large weights cost."""


@dataclass(frozen=True)
class Anchor:
    """A number, and what every image adds to its error.

    Attributes:
        value: the audited number.
        automatic: the same number from the automatic scores alone.
        influence: (N,) the sum over images of a prompt is what the prompt adds to the error.
        residual: (N,) weight of a label times how far it lies from the mean error, relative to the
            sum of weights; 0 without a label.
        labelled: (N,) whether an image that counts has a label.
        weights: of the witnesses; empty where they were cross-fitted.
        n: labels.
        n_eff: labels of equal probability that would be as good.
        fitted: how many weights were fitted on these labels.
        floor: variance that is added against samples that happen to hold no error.
        explained: share of the labels' variance that the witnesses explain.
        coverage: labelled share of the images that count.
    """

    value: float
    automatic: float
    influence: Floats
    residual: Floats
    labelled: NDArray[np.bool_]
    weights: tuple[float, ...]
    n: int
    n_eff: float
    fitted: int
    floor: float
    explained: float
    coverage: float


@dataclass(frozen=True)
class Audited:
    """An audited number with its interval.

    Attributes:
        value, low, high: the number; the interval is cut to [0, 1] ([-1, 1] for differences).
        automatic: what the automatic scores alone say.
        weights: of the witnesses, empty where they were cross-fitted.
        n: labels; n_eff: of equal probability that would be as good; n_prompts: with labels.
        worth: labels that would give the same interval without any automatic score, at most all
            images.
        error: standard error.
        floor: whether the guard against few errors is more than half of the variance.
        drift: whether the automatic number lies outside the interval.
    """

    value: float
    low: float
    high: float
    automatic: float
    weights: tuple[float, ...]
    n: int
    n_eff: float
    n_prompts: int
    worth: float
    error: float
    floor: bool
    drift: bool


def anchor(
    labels: ArrayLike,
    scores: ArrayLike,
    pi: ArrayLike,
    clusters: Ids,
    *,
    size: ArrayLike | None = None,
    weight: float | None = None,
    fit: bool = True,
) -> Anchor:
    """sum(size * y) / sum(size) over all images, of which only some have a label y.

    Args:
        labels: (N,) human labels in [0, 1], NaN where there is none.
        scores: (N,) or (N, k) automatic scores, the first column the number's own; further ones
            are other witnesses. A score that is NaN is replaced by the mean of its column.
        pi: (N,) probability with which an image was chosen to be labelled.
        clusters: (N,) the prompt of each image.
        size: (N,) how much each image counts, known for all: 1 and 0 for a part of the images.
        weight: of the first score, instead of a fitted one: 0 uses labels only, 1 is classic
            prediction-powered inference.
        fit: `False` takes the single score as it is (as weight 1).

    Raises:
        InputError: no labels, lengths differ, a label outside [0, 1], or a probability that is
            missing or not in (0, 1] for a labelled image.
    """
    y, columns, prob, sizes, codes = _checked(labels, scores, pi, clusters, size)
    own = columns[:, 0].copy()
    seen = ~np.isnan(y) & (sizes > 0)
    n = int(seen.sum())
    if n == 0:
        raise InputError("there is no label to audit with")
    w = np.where(seen, sizes / np.where(seen, prob, 1), 0.0)
    known = np.where(seen, y, 0.0)
    total, whole = float(w.sum()), float(sizes.sum())
    weights: tuple[float, ...] = ()
    fitted = 0
    if weight is not None or not fit:
        weights = (1.0 if weight is None else float(weight),)
        predicted = weights[0] * own
    elif columns.shape[1] <= FIT_TOGETHER:
        found = _fit(columns[seen], known[seen], w[seen])
        if columns.shape[1] == 1:
            found = np.clip(found, 0, MOST_WEIGHT)
        weights, fitted = tuple(float(x) for x in found), columns.shape[1]
        predicted = columns @ found
    else:
        predicted = _cross_fitted(columns, known, w, codes)
    error = np.where(seen, known - predicted, 0.0)
    mean_error = float(w @ error) / total
    mean_score = float(sizes @ predicted) / whole
    spread = w * (error - mean_error) / total
    influence = sizes * (predicted - mean_score) / whole + spread
    n_eff = total**2 / float(w @ w)
    counted = int((sizes > 0).sum())
    variance = float(w @ (known - float(w @ known) / total) ** 2)
    left = float(w @ (error - mean_error) ** 2)
    return Anchor(
        value=mean_score + mean_error,
        automatic=float(sizes @ own) / whole,
        influence=influence,
        residual=spread,
        labelled=seen,
        weights=weights,
        n=n,
        n_eff=n_eff,
        fitted=fitted,
        floor=2 / n_eff**2 * (1 - n / counted),
        explained=max(0.0, 1 - left / variance) if variance > 0 else 0.0,
        coverage=n / counted,
    )


def ratio(above: Anchor, below: Anchor) -> Anchor:
    """One audited number over another of the same images: right ones among those with both objects.

    Raises:
        InputError: the lower number is not above 0.
    """
    if below.value <= 0:
        raise InputError("by the labels, no image counts")
    value, scale = above.value / below.value, 1 / below.value
    return replace(
        above,
        value=value,
        automatic=above.automatic / below.automatic if below.automatic > 0 else math.nan,
        influence=scale * (above.influence - value * below.influence),
        residual=scale * (above.residual - value * below.residual),
        n_eff=above.n_eff * below.value,
        floor=above.floor * scale**2,
    )


def interval(
    found: Anchor,
    pi: ArrayLike,
    clusters: Ids,
    *,
    target: Target = "model",
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Audited:
    """The interval of an audited number: value ± Student's quantile * standard error.

    For the model, prompts are a sample and the contributions of each are summed; for these images,
    only the choice of the labelled ones is random, and labels of one prompt count as one draw where
    that is wider. Degrees of freedom are labels, or prompts with labels, less what was fitted.
    """
    codes, count = cluster_codes(clusters)
    prompts = int(np.unique(codes[found.labelled]).size)
    if target == "model":
        sums = np.bincount(codes, weights=found.influence, minlength=count)
        variance = count / max(count - 1, 1) * float(sums @ sums)
    else:
        variance = _design_variance(found, np.asarray(pi, dtype=np.float64), codes, count)
    degrees = max(1, min(found.n - 1 - max(found.fitted, 1), prompts - 1))
    error = math.sqrt(variance + found.floor)
    half = quantile(0.5 + level / 2, degrees) * error
    low, high = (float(np.clip(found.value + d, *bounds)) for d in (-half, half))
    return Audited(
        value=float(np.clip(found.value, *bounds)),
        low=low,
        high=high,
        automatic=found.automatic,
        weights=found.weights,
        n=found.n,
        n_eff=found.n_eff,
        n_prompts=prompts,
        worth=_worth(found, target),
        error=error,
        floor=found.floor > variance,
        drift=not low - 1e-12 <= found.automatic <= high + 1e-12,
    )


def difference(
    a: Anchor, clusters_a: Ids, b: Anchor, clusters_b: Ids, *, level: float = 0.95
) -> Audited:
    """Audited number of run B minus that of run A, prompts paired.

    The labelled images may be the same pairs or others. Two runs that are the same to the last
    label differ by 0 ± 0.
    """
    names_a, names_b = np.asarray(clusters_a), np.asarray(clusters_b)
    codes, count = cluster_codes(np.concatenate([names_a, names_b]))
    joined = np.concatenate([-a.influence, b.influence])
    sums = np.bincount(codes, weights=joined, minlength=count)
    variance = count / max(count - 1, 1) * float(sums @ sums)
    value = b.value - a.value
    same = bool(np.allclose([value, *sums], 0, atol=1e-12))
    floor = 0.0 if same else max(a.floor, b.floor)
    seen = np.concatenate([a.labelled, b.labelled])
    prompts = int(np.unique(codes[seen]).size)
    fitted = max(a.fitted, b.fitted, 1)
    degrees = max(1, min(min(a.n, b.n) - 1 - fitted, prompts - 1))
    error = math.sqrt(variance + floor)
    half = quantile(0.5 + level / 2, degrees) * error
    automatic = b.automatic - a.automatic
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Audited(
        value=value,
        low=low,
        high=high,
        automatic=automatic,
        weights=(*a.weights, *b.weights),
        n=a.n + b.n,
        n_eff=min(a.n_eff, b.n_eff),
        n_prompts=prompts,
        worth=_worth(a) + _worth(b),
        error=error,
        floor=floor > variance,
        drift=not low - 1e-12 <= automatic <= high + 1e-12,
    )


def _worth(found: Anchor, target: Target = "model") -> float:
    rest = 1 - found.explained * ((1 - found.coverage) if target == "model" else 1)
    return min(found.n / max(rest, 1e-9), found.n / found.coverage)


def labels_needed(
    half_width: float, rate: float, explained: float, images: int | None = None, level: float = 0.95
) -> int:
    """Labels for an interval of ± `half_width`; at least 50, at most all `images`.

    Args:
        half_width: as a fraction, 0.03 is three points.
        rate: the expected number.
        explained: squared correlation of automatic scores and labels; for a scorer whose errors go
            both ways (2 accuracy - 1)^2 at a rate of one half.

    Raises:
        InputError: a width or rate that is none.

    >>> labels_needed(0.05, 0.5, 0.0), labels_needed(0.05, 0.5, 0.64)
    (385, 139)
    """
    if not 0 < half_width < 1:
        raise InputError(f"a half-width must be a fraction above 0 and below 1, got {half_width}")
    if not (0 <= rate <= 1 and 0 <= explained <= 1):
        raise InputError(f"rate and explained share must be in [0, 1]: {rate}, {explained}")
    z = quantile(0.5 + level / 2)
    spread = rate * (1 - rate)
    # with n of N labelled the scores are worth less, and an interval for the model keeps s^2 / N
    left = (half_width / z) ** 2 - (spread * explained / images if images else 0.0)
    needed = math.inf if left <= 0 else spread * (1 - explained) / left
    most = images or math.inf
    return int(min(max(50, math.ceil(min(needed, 1e9))), most))


def _checked(
    labels: ArrayLike, scores: ArrayLike, pi: ArrayLike, clusters: Ids, size: ArrayLike | None
) -> tuple[Floats, Floats, Floats, Floats, Ints]:
    y = np.asarray(labels, dtype=np.float64)
    columns = np.asarray(scores, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns.copy()
    prob = np.asarray(pi, dtype=np.float64)
    sizes = np.ones(len(y)) if size is None else np.asarray(size, dtype=np.float64)
    codes, _ = cluster_codes(clusters)
    if not len(y) == len(columns) == len(prob) == len(sizes) == len(codes):
        raise InputError("labels, scores, probabilities and prompts differ in length")
    seen = ~np.isnan(y)
    if ((y[seen] < 0) | (y[seen] > 1)).any():
        raise InputError("labels must lie in [0, 1]")
    if not ((prob[seen] > 0) & (prob[seen] <= 1)).all():
        raise InputError(
            "a labelled image has no probability of having been chosen (in (0, 1]); an unweighted "
            "mean of labels would be wrong, so there is none"
        )
    if not (np.isfinite(sizes).all() and (sizes >= 0).all() and sizes.sum() > 0):
        raise InputError("no image counts for this number")
    for k in range(columns.shape[1]):
        column = columns[:, k]
        gaps = np.isnan(column)
        column[gaps] = column[~gaps].mean() if (~gaps).any() else 0.0
    return y, columns, prob, sizes, codes


def _fit(columns: Floats, y: Floats, w: Floats) -> Floats:
    """Weighted least squares of y on the witnesses; constant ones get weight 0."""
    share = w / w.sum()
    centred = columns - share @ columns
    moments = (centred * share[:, None]).T @ centred
    spread = np.diag(moments)
    used = spread > 1e-12
    found = np.zeros(columns.shape[1])
    if used.any():
        inner = moments[np.ix_(used, used)]
        if len(y) < RIDGE_BELOW * used.sum() and used.sum() > 1:
            inner = inner + np.diag(spread[used]) * (used.sum() / len(y))
        target = (centred[:, used] * share[:, None]).T @ (y - share @ y)
        found[used] = np.linalg.lstsq(inner, target, rcond=None)[0]
    return found


def _cross_fitted(columns: Floats, y: Floats, w: Floats, codes: Ints) -> Floats:
    """Fitted values for all images, each from labels of other prompts than its own."""
    order = np.random.default_rng(0).permutation(int(codes.max()) + 1)
    folds = order[codes] % FOLDS
    predicted = np.zeros(len(y))
    for fold in range(FOLDS):
        at, other = folds == fold, (folds != fold) & (w > 0)
        if other.sum() < 2:
            continue
        weights = _fit(columns[other], y[other], w[other])
        share = w[other] / w[other].sum()
        level = share @ y[other] - (share @ columns[other]) @ weights
        predicted[at] = level + columns[at] @ weights
    return predicted


def _design_variance(found: Anchor, pi: Floats, codes: Ints, count: int) -> float:
    z = np.where(found.labelled, np.sqrt(np.clip(1 - pi, 0, 1)) * found.residual, 0.0)
    sums = np.bincount(codes, weights=z, minlength=count)
    lost = found.n / max(found.n - 1 - found.fitted, 1)
    return lost * max(float(z @ z), float(sums @ sums))


Categories = Sequence[str]


def agreement(
    first: Sequence[str], second: Sequence[str], clusters: Ids, *, resamples: int = 1000
) -> dict[str, tuple[float, float, float] | None]:
    """How far two annotators agree on the same questions.

    Returns:
        `raw`, Cohen's `kappa` and Gwet's `ac1` (2008, British Journal of Mathematical and
        Statistical Psychology 61:29), each with low and high of a bootstrap over prompts; `None`
        without any question. Where both always say the same word, kappa is undefined (`None`).
    """
    kinds = sorted({*first, *second})
    place = {kind: k for k, kind in enumerate(kinds)}
    a, b = (np.array([place[x] for x in side], dtype=np.int64) for side in (first, second))
    if len(a) == 0:
        return {"raw": None, "kappa": None, "ac1": None}
    codes, count = cluster_codes(clusters)
    cells = np.zeros((count, len(kinds) ** 2))
    np.add.at(cells, (codes, a * len(kinds) + b), 1.0)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples) @ cells
    result: dict[str, tuple[float, float, float] | None] = {}
    values, spread = _agreement(cells.sum(axis=0)[None]), _agreement(drawn)
    for name, value, sample in zip(("raw", "kappa", "ac1"), values, spread, strict=True):
        usable = sample[np.isfinite(sample)]
        if not np.isfinite(value[0]) or len(usable) == 0:
            result[name] = None
            continue
        low, high = np.quantile(usable, [0.025, 0.975])
        result[name] = (float(value[0]), float(low), float(high))
    return result


def _agreement(cells: NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
    kinds = math.isqrt(cells.shape[1])
    table = cells.reshape(len(cells), kinds, kinds)
    table = table / table.sum(axis=(1, 2), keepdims=True)
    raw = np.trace(table, axis1=1, axis2=2)
    rows, columns = table.sum(axis=2), table.sum(axis=1)
    chance = (rows * columns).sum(axis=1)
    mean = (rows + columns) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = np.where(chance < 1 - 1e-12, (raw - chance) / (1 - chance), np.nan)
        gwet = (mean * (1 - mean)).sum(axis=1) / max(kinds - 1, 1)
        ac1 = (raw - gwet) / (1 - gwet)
    return raw, kappa, ac1
