"""Paired comparison: exact permutation p-values, coverage, false alarms, degenerate input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.paired import _permutation_p, paired_difference


def studentised(rows: np.ndarray) -> float:
    """Difference of the ratios over its linearised error, from residuals; `na, da, nb, db`."""
    size = rows[:, [1, 3]].mean()
    na, da, nb, db = np.concatenate([rows, [[size, size, 0, size], [0, size, size, size]]]).T
    a, b = na.sum() / da.sum(), nb.sum() / db.sum()
    residuals = (nb - b * db) / db.sum() - (na - a * da) / da.sum()
    return float((b - a) / np.sqrt((residuals**2).sum()))


def by_hand(rows: np.ndarray) -> float:
    """Two-sided p over every way to swap whole prompts."""
    swapped = rows[:, [2, 3, 0, 1]]
    observed = abs(studentised(rows))
    hits = [
        abs(studentised(np.where(np.array(swaps)[:, None], swapped, rows))) >= observed - 1e-9
        for swaps in itertools.product([False, True], repeat=len(rows))
    ]
    return float(np.mean(hits))


@pytest.mark.parametrize("given", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_the_permutation_is_exact_on_small_cases(seed: int, given: float) -> None:
    rng = np.random.default_rng(seed)
    below = [(rng.random((8, 3)) < given).astype(float) for _ in "ab"]
    above = [d * (rng.random((8, 3)) < rate) for d, rate in zip(below, (0.3, 0.7), strict=True)]
    columns = (above[0], below[0], above[1], below[1])
    rows = np.stack([c.sum(axis=1) for c in columns], axis=1)
    expected = by_hand(rows)
    assert _permutation_p(rows, 256, rng) == pytest.approx(expected, abs=1e-12)
    # with fewer draws than ways, drawn at random: near, and never below what is possible
    drawn = _permutation_p(rows, 200, rng)
    assert drawn == pytest.approx(expected, abs=0.12)
    assert drawn >= 1 / 201
    flat = [c.ravel() for c in columns]
    whole = paired_difference(*flat, np.repeat(np.arange(8), 3))
    assert whole.p is not None and whole.p >= expected - 1e-12


def test_ratio_with_its_own_denominators() -> None:
    na, da = np.array([1.0, 0, 0, 1]), np.array([1.0, 1, 0, 1])
    nb, db = np.array([1.0, 1, 1, 1]), np.array([1.0, 1, 1, 1])
    result = paired_difference(na, da, nb, db, range(4))
    assert (result.a, result.b) == (pytest.approx(2 / 3), 1.0)
    # row 2 has no denominator in A: neither gain nor loss
    assert (result.gains, result.losses, result.n) == (1, 0, 4)


@pytest.mark.parametrize("wrong", [1, 2, 4, 7])
def test_p_is_not_below_what_the_discordant_prompts_allow(wrong: int) -> None:
    """All images with both objects are right but a few: swapping the rest says nothing."""
    rng = np.random.default_rng(wrong)
    da, db = (rng.random(60) < 0.2).astype(float), (rng.random(60) < 0.8).astype(float)
    da[:8] = db[:8] = 1.0
    na, nb = da.copy(), db.copy()
    na[:wrong] = 0.0
    found = paired_difference(na, da, nb, db, range(60))
    assert found.p is not None and found.p >= 2.0 ** (1 - wrong)


def test_p_and_interval_agree_and_hold_for_ratios_and_unequal_variances() -> None:
    """B has the objects more often, or its prompts succeed all or not at all; no difference."""
    ids = np.repeat(np.arange(40), 4)
    alarms = np.zeros(2)
    for seed in range(300):
        rng = np.random.default_rng(seed)
        found = [np.repeat(rng.random(40) < share, 4) * 1.0 for share in (0.3, 0.7)]
        right = [rng.random(160) < 0.95 for _ in "ab"]
        blocks = np.repeat(rng.random(40) < 0.05, 4)
        cases = (
            (right[0] * found[0], found[0], right[1] * found[1], found[1]),
            (rng.random(160) < 0.05, np.ones(160), blocks, np.ones(160)),
        )
        for k, case in enumerate(cases):
            result = paired_difference(*case, ids, resamples=200, seed=seed)
            assert result.p is not None and result.low is not None and result.high is not None
            assert (result.p <= 0.05) == (not result.low <= 0 <= result.high)
            alarms[k] += result.p <= 0.05
    assert (alarms / 300 <= 0.05).all()


def simulate(rng: np.random.Generator, prompts: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    difficulty = rng.beta(0.9, 2.1, prompts)[:, None]
    a = rng.random((prompts, 4)) < difficulty
    again = rng.random((prompts, 4)) < difficulty
    b = np.where(rng.random((prompts, 4)) < 0.5, a, again)
    return a.ravel(), (b | (rng.random((prompts, 4)) < gain)).ravel()


@pytest.mark.parametrize("prompts", [8, 60])
def test_interval_covers_and_p_raises_few_false_alarms(prompts: int) -> None:
    rng = np.random.default_rng(prompts)
    ones, clusters = np.ones(4 * prompts), np.repeat(np.arange(prompts), 4)
    inside = alarms = 0
    for seed in range(300):
        a, b = simulate(rng, prompts, 0.1)
        result = paired_difference(a, ones, b, ones, clusters, resamples=300, seed=seed)
        assert result.low is not None and result.high is not None
        inside += result.low <= 0.1 * 0.7 <= result.high
        a, b = simulate(rng, prompts, 0.0)
        null = paired_difference(a, ones, b, ones, clusters, resamples=300, seed=seed)
        alarms += null.p is not None and null.p <= 0.05
    assert inside / 300 >= 0.93
    assert alarms / 300 <= 0.08


def test_pairing_is_worth_it() -> None:
    rng = np.random.default_rng(0)
    a, b = simulate(rng, 200, 0.05)
    ones, clusters = np.ones(800), np.repeat(np.arange(200), 4)
    paired = paired_difference(a, ones, b, ones, clusters)
    shuffled = b.reshape(200, 4)[rng.permutation(200)].ravel()
    unpaired = paired_difference(a, ones, shuffled, ones, clusters)
    assert paired.value == unpaired.value
    assert width(paired) < 0.8 * width(unpaired)


def test_no_differing_image_is_not_certainty() -> None:
    same = paired_difference([1, 0] * 5, [1] * 10, [1, 0] * 5, [1] * 10, range(10))
    assert (same.value, same.p, same.gains, same.losses) == (0.0, 1.0, 0, 0)
    assert width(same) > 0.2
    soft = paired_difference([0.5] * 9, [1] * 9, [0.6] * 9, [1] * 9, range(9))
    assert soft.value == pytest.approx(0.1)
    assert width(soft) > 0.2


def test_seed_and_order() -> None:
    rng = np.random.default_rng(1)
    a, b = simulate(rng, 40, 0.1)
    ones, clusters = np.ones(160), np.repeat(np.arange(40), 4)
    first = paired_difference(a, ones, b, ones, clusters, seed=3)
    order = rng.permutation(160)
    assert paired_difference(a[order], ones, b[order], ones, clusters[order], seed=3) == first
    assert paired_difference(a, ones, b, ones, clusters, seed=4) != first
    swapped = paired_difference(b, ones, a, ones, clusters, seed=3)
    assert swapped.value == pytest.approx(-(first.value or 0))
    assert (swapped.gains, swapped.losses) == (first.losses, first.gains)


def test_undefined_is_none() -> None:
    empty = paired_difference([], [], [], [], [])
    assert (empty.value, empty.low, empty.p, empty.n) == (None, None, None, 0)
    one_side = paired_difference([0], [0], [1], [1], ["x"])
    assert (one_side.a, one_side.b, one_side.value, one_side.p) == (None, 1.0, None, None)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="finite"):
        paired_difference([np.nan], [1], [1], [1], ["a"])
    with pytest.raises(InputError, match="cluster ids"):
        paired_difference([1], [1], [1, 1], [1, 1], ["a"])


def width(result: object) -> float:
    low, high = getattr(result, "low", None), getattr(result, "high", None)
    assert low is not None and high is not None
    return float(high - low)
