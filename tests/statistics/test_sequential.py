"""Confidence sequences: validity at all times, sharpness, exactness at the end, stopping."""

from __future__ import annotations

import numpy as np
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.sequential import (
    ConfidenceSequence,
    DecisionRule,
    DifferenceSequence,
    PrecisionRule,
    ever_excluded,
    first_stop,
    stop_at_decision,
    stop_at_precision,
)


def population(rng: np.random.Generator, size: int, rate: float, icc: float = 0.3) -> np.ndarray:
    """Per-prompt means of four images."""
    scale = 1 / icc - 1
    return rng.binomial(4, rng.beta(rate * scale, (1 - rate) * scale, size)) / 4


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.63])
@pytest.mark.parametrize("size", [40, 400])
@pytest.mark.parametrize("targets", [(0.02,), (0.02, 0.05, 0.125, 0.3)])
def test_the_truth_stays_inside_at_all_times(
    size: int, rate: float, targets: tuple[float, ...]
) -> None:
    rng = np.random.default_rng([size, int(100 * rate)])
    means = population(rng, size, rate)
    below = rng.binomial(4, 0.6, size) / 4
    above = rng.binomial((4 * below).astype(int), rate) / 4
    order = np.argsort(rng.random((2000, size)), axis=1)
    runs = np.full(2000, means.mean())
    mean = ever_excluded(means[order], np.ones((2000, size)), runs, size, targets=targets)
    ratio = np.full(2000, above.sum() / below.sum())
    share = ever_excluded(above[order], below[order], ratio, size, targets=targets)
    # 1 in 20 is promised; 2000 runs see it with a standard error of 0.5 points
    assert mean.mean() <= 0.06
    assert share.mean() <= 0.06


def test_an_endless_supply_is_covered_too() -> None:
    rng = np.random.default_rng(0)
    values = rng.binomial(4, rng.beta(1, 2, (2000, 400))) / 4
    missed = ever_excluded(
        values, np.ones_like(values), np.full(2000, 1 / 3), None, targets=(0.05,)
    )
    assert 0.005 <= missed.mean() <= 0.06


def test_a_fixed_sample_interval_would_not_survive_peeking() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((1000, 400)) < 0.5
    n = np.arange(1, 401)
    mean = np.cumsum(values, axis=1) / n
    missed = (np.abs(mean - 0.5) > 1.96 * 0.5 / np.sqrt(n))[:, 20:].any(axis=1)
    assert missed.mean() > 0.2


def test_bounds_are_where_the_capital_says() -> None:
    rng = np.random.default_rng(2)
    values = population(rng, 300, 0.4)
    sequence = ConfidenceSequence(300, targets=(0.05,))
    sequence.update(values[:120])
    bounds = sequence.bounds()
    inside = np.array([bounds.low + 1e-4, bounds.high - 1e-4])
    outside = np.array([bounds.low - 1e-4, bounds.high + 1e-4])
    runs = np.repeat(values[None, :120], 2, axis=0)
    options = {"population": 300, "targets": (0.05,)}
    assert not ever_excluded(runs, np.ones_like(runs), inside, **options).any()
    assert ever_excluded(runs, np.ones_like(runs), outside, **options).all()


def test_bounds_tighten_and_end_exact() -> None:
    rng = np.random.default_rng(3)
    values = rng.permutation(population(rng, 500, 0.3))
    sequence = ConfidenceSequence(500, targets=(0.02,))
    previous = sequence.bounds()
    assert (previous.value, previous.low, previous.high) == (None, 0.0, 1.0)
    for start in range(0, 500, 50):
        sequence.update(values[start : start + 50])
        now = sequence.bounds()
        assert previous.low <= now.low <= now.high <= previous.high
        previous = now
    assert previous.low == previous.high == pytest.approx(values.mean())
    # one prompt short of the whole set almost nothing is open
    assert sequence.bounds(499).half_width < 0.005


def test_precision_saves_most_of_a_large_set() -> None:
    rng = np.random.default_rng(4)
    values = population(rng, 25_280, 0.3)
    fixed = 1.96**2 * values.var() / 0.02**2
    inside, needed = 0, []
    for _ in range(40):
        result = stop_at_precision(rng.permutation(values)[:4000], 0.02, 25_280)
        assert result.verdict == "precise"
        assert result.bounds.half_width <= 0.02
        inside += result.bounds.low <= values.mean() <= result.bounds.high
        needed.append(result.bounds.n)
    assert inside >= 36
    # looking at any time costs half as much again as a sample size fixed in advance
    assert fixed < np.mean(needed) < 2 * fixed
    assert np.mean(needed) < 0.1 * 25_280


def test_first_stop_is_the_first() -> None:
    values = population(np.random.default_rng(5), 600, 0.5)
    result = stop_at_precision(values, 0.08, 600)
    sequence = ConfidenceSequence(600, targets=(0.08,))
    sequence.update(values)
    rule = PrecisionRule(0.08)
    assert rule.verdict(sequence.bounds(result.bounds.n)) == "precise"
    assert rule.verdict(sequence.bounds(result.bounds.n - 1)) is None


def test_too_few_data_say_so() -> None:
    result = stop_at_precision([0.5, 0.25, 1.0], 0.02, 1000)
    assert result.verdict == "exhausted"
    assert result.bounds.n == 3
    whole = stop_at_precision([0.5, 0.25, 1.0], 0.02, 3)
    assert whole.bounds.value == pytest.approx(1.75 / 3)
    assert whole.verdict == "precise"


@pytest.mark.parametrize(("gain", "verdict"), [(0.15, "b_better"), (-0.15, "a_better")])
def test_decision_finds_the_better_run(gain: float, verdict: str) -> None:
    rng = np.random.default_rng(6)
    a, b = population(rng, 4000, 0.4), population(rng, 4000, 0.4 + gain)
    result = stop_at_decision(b - a, 4000)
    assert result.verdict == verdict
    assert result.bounds.n < 800


def test_decision_of_equal_runs() -> None:
    rng = np.random.default_rng(7)
    a = population(rng, 4000, 0.4)
    b = np.where(rng.random(4000) < 0.9, a, population(rng, 4000, 0.4))
    result = stop_at_decision(b - a, 4000, margin=0.05)
    assert result.verdict == "similar"
    assert -0.05 <= result.bounds.low <= result.bounds.high <= 0.05


def test_wrong_decisions_are_rare() -> None:
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(100):
        a, b = population(rng, 300, 0.4), population(rng, 300, 0.4)
        difference = b - a
        result = stop_at_decision(difference, 300, margin=0.01)
        truth = difference.mean()
        wrong += (result.verdict == "b_better" and truth <= 0) or (
            result.verdict == "a_better" and truth >= 0
        )
    assert wrong <= 8


def test_rules_read_bounds() -> None:
    sequence = DifferenceSequence(50, targets=DecisionRule(0.1).targets)
    sequence.update(np.zeros(50))
    assert first_stop(sequence, DecisionRule(0.1), 50).verdict == "similar"
    assert sequence.population == 50


def test_bad_input() -> None:
    with pytest.raises(InputError, match="population"):
        ConfidenceSequence(0, targets=(0.1,))
    with pytest.raises(InputError, match="half-widths"):
        ConfidenceSequence(10, targets=(2,))
    with pytest.raises(InputError, match="level"):
        ConfidenceSequence(10, targets=(0.1,), level=95)
    sequence = ConfidenceSequence(2, targets=(0.1,))
    with pytest.raises(InputError, match="3 clusters of a set of 2"):
        sequence.update([0, 0, 0])
    with pytest.raises(InputError, match="finite"):
        sequence.update([np.nan])
    with pytest.raises(InputError, match="0 <= numerator"):
        sequence.update([0.6], [0.5])
    with pytest.raises(InputError, match="differ"):
        sequence.update([0.6], [0.5, 1])
    with pytest.raises(InputError, match="between -1 and 1"):
        DifferenceSequence(2, targets=(0.1,)).update([1.5])
