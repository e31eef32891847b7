"""Paired comparison: exact permutation p-values, coverage, false alarms, degenerate input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.paired import paired_difference


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided p over every way to swap whole prompts; rows are prompts."""
    observed = abs(b.mean() - a.mean())
    hits = []
    for swaps in itertools.product([False, True], repeat=len(a)):
        swap = np.array(swaps)[:, None]
        values = np.where(swap, a, b).mean() - np.where(swap, b, a).mean()
        hits.append(abs(values) >= observed - 1e-12)
    return float(np.mean(hits))


@pytest.mark.parametrize("seed", range(5))
def test_p_value_is_exact_on_small_cases(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = (rng.random((8, 3)) < 0.3).astype(float)
    b = (rng.random((8, 3)) < 0.7).astype(float)
    clusters = np.repeat(np.arange(8), 3)
    ones = np.ones(24)
    exact = paired_difference(a.ravel(), ones, b.ravel(), ones, clusters)
    assert exact.p == pytest.approx(by_hand(a, b), abs=1e-12)
    # with fewer draws than ways, drawn at random: near, and never below what is possible
    drawn = paired_difference(a.ravel(), ones, b.ravel(), ones, clusters, resamples=200)
    assert drawn.p == pytest.approx(exact.p, abs=0.12)
    assert drawn.p is not None and drawn.p >= 1 / 201


def test_ratio_with_its_own_denominators_is_permuted_too() -> None:
    na, da = np.array([1.0, 0, 0, 1]), np.array([1.0, 1, 0, 1])
    nb, db = np.array([1.0, 1, 1, 1]), np.array([1.0, 1, 1, 1])
    result = paired_difference(na, da, nb, db, range(4))
    observed = 1 - 2 / 3
    hits = []
    for swaps in itertools.product([False, True], repeat=4):
        s = np.array(swaps)
        first = np.where(s, nb, na).sum() / np.where(s, db, da).sum()
        second = np.where(s, na, nb).sum() / np.where(s, da, db).sum()
        hits.append(abs(second - first) >= observed - 1e-12)
    assert result.p == pytest.approx(np.mean(hits))
    assert (result.a, result.b) == (pytest.approx(2 / 3), 1.0)
    # row 2 has no denominator in A: neither gain nor loss
    assert (result.gains, result.losses, result.n) == (1, 0, 4)


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
