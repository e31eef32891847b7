"""Which images people label: a probability for every image, then a draw that keeps to it.

Every image has a probability above 0, and the draw gives each image exactly its own: systematic
sampling over prompts in random order, so that labels spread over prompts and their number is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.intervals import Floats, Ids, Ints, cluster_codes

Picker = Literal["uniform", "stratified", "active"]
PICKERS: tuple[Picker, ...] = ("uniform", "stratified", "active")

PICKS = pl.Schema(
    {
        "place": pl.Int32,
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "image": pl.String,
        "image_sha256": pl.String,
        "picker": pl.String,
        "pi": pl.Float64,
        "batch": pl.Int32,
        "seed": pl.Int64,
        "twice": pl.Boolean,
    }
)
"""One row per image to label, in the order in which it is shown. `pi` is the probability of having
been picked in any batch so far; `twice`: a second annotator is to label it too."""

BANDS = 4
FLOOR = 5
UNIFORM_SHARE = 0.25


def probabilities(
    picker: Picker, n: int, chance: ArrayLike | None, count: int, parts: Sequence[str] | None = None
) -> tuple[Floats, Ints]:
    """(N,) probabilities of being picked, which add up to `n`, and the stratum of every image.

    `uniform`: all alike. `stratified`: strata of verdict and confidence, with as many labels as
    size and spread ask for (Neyman 1934), at least five each. `active`: three quarters by how
    uncertain each image is (Zrnic and Candès 2024, arXiv 2403.03208), one quarter alike, so that
    confident errors are found too.

    Args:
        n: images to pick.
        chance: (N,) automatic probability that an image is right; `None` for `uniform`.
        count: N.
        parts: (N,) the relation of each image, say: as many labels for each.

    Raises:
        InputError: no images, more picks than images, or nothing to tell uncertain ones by.
    """
    if not 0 < n <= count:
        raise InputError(f"{n:,} images are to be picked, {count:,} are there")
    if picker == "uniform":
        size, strata = np.ones(count), np.zeros(count, dtype=np.int64)
    else:
        p = np.clip(np.asarray(chance, dtype=np.float64), 0, 1)
        spread = np.sqrt(p * (1 - p))
        if not (spread > 0).any():
            raise InputError(
                f"the {picker} picker needs probabilities, and these verdicts are all 0 or 1; "
                "score by `spatial` too, or use --picker uniform"
            )
        if picker == "active":
            size = (1 - UNIFORM_SHARE) * spread / spread.sum() + UNIFORM_SHARE / count
            strata = np.zeros(count, dtype=np.int64)
        else:
            size, strata = _neyman(p, n)
    if parts is not None:
        codes, kinds = cluster_codes(parts)
        size = size / np.bincount(codes, weights=size, minlength=kinds)[codes] / kinds
        strata = strata * kinds + codes
    return scaled(size, n, np.ones(count, dtype=bool)), strata


def draw(pi: Floats, strata: Ints, clusters: Ids, seed: int) -> Ints:
    """Indices of picked images: image i with probability pi_i, their number the sum of pi.

    Systematic sampling, stratum by stratum, prompts and their images in random order.
    """
    rng = np.random.default_rng(seed)
    codes, count = cluster_codes(clusters)
    order = np.lexsort((rng.random(len(pi)), rng.permutation(count)[codes], strata))
    # the last sum is whole but for rounding, which must not cost or add a pick
    ends = np.cumsum(pi[order])
    ends[-1] = round(ends[-1], 6)
    start = rng.random()
    hits = np.floor(ends - start + 1)
    picked = np.diff(hits, prepend=0) > 0
    return np.sort(order[picked])


def together(before: Floats, now: Floats) -> Floats:
    """Probability of having been picked before, or now from those that were not."""
    return 1 - (1 - before) * (1 - now)


def _neyman(p: Floats, n: int) -> tuple[Floats, Ints]:
    confidence = np.abs(p - 0.5)
    order = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
    band = order * BANDS // len(p)
    _, strata = np.unique(np.stack([p > 0.5, band]), axis=1, return_inverse=True)
    strata = strata.reshape(-1).astype(np.int64)
    sizes = np.bincount(strata)
    spread = np.sqrt(np.bincount(strata, weights=p * (1 - p)) / sizes)
    wanted = sizes * np.maximum(spread, 1e-3)
    wanted = np.maximum(n * wanted / wanted.sum(), np.minimum(FLOOR, sizes))
    return (wanted / sizes)[strata], strata


def scaled(size: Floats, n: int, eligible: NDArray[np.bool_]) -> Floats:
    """Probabilities in proportion to `size`, at most 1, which add up to n over the `eligible`."""
    pi = size * n / size[eligible].sum()
    for _ in range(100):
        full = pi >= 1
        rest = n - int((full & eligible).sum())
        if rest <= 0 or not (pi[eligible] > 1 + 1e-12).any():
            break
        pi = np.where(full, 1.0, size * rest / size[eligible & ~full].sum())
    return np.asarray(np.minimum(pi, 1.0))
