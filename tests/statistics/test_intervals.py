"""Intervals: coverage by simulation, agreement with scipy, degenerate and bad input."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from t2i_spatial.errors import InputError
from t2i_spatial.statistics import intervals as st


def correlated(
    rng: np.random.Generator, prompts: int, samples: int, rate: float, icc: float
) -> np.ndarray:
    """(prompts, samples) 0/1 outcomes whose images of one prompt are correlated."""
    if icc == 0:
        return rng.random((prompts, samples)) < rate
    scale = 1 / icc - 1
    difficulty = rng.beta(rate * scale, (1 - rate) * scale, prompts)
    return rng.random((prompts, samples)) < difficulty[:, None]


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.85])
@pytest.mark.parametrize("icc", [0.0, 0.4])
@pytest.mark.parametrize("prompts", [5, 40])
def test_intervals_cover_what_they_promise(prompts: int, icc: float, rate: float) -> None:
    rng = np.random.default_rng([prompts, int(10 * icc), int(100 * rate)])
    clusters = np.repeat(np.arange(prompts), 4)
    inside = 0
    for seed in range(400):
        right = correlated(rng, prompts, 4, rate, icc).ravel()
        found = right | (rng.random(right.size) < 0.5)
        everything = st.ratio_interval(
            right, np.ones(right.size), clusters, resamples=200, seed=seed
        )
        # P(right | found) is known too: a ratio with a random denominator
        given = st.ratio_interval(right & found, found, clusters, resamples=200, seed=seed)
        truth = rate / (rate + (1 - rate) * 0.5)
        assert everything.low is not None and everything.high is not None
        inside += everything.low <= rate <= everything.high
        inside += given.low is None or bool(given.low <= truth <= (given.high or 0))
    assert inside / 800 >= 0.93


def test_ignoring_the_clusters_would_promise_too_much() -> None:
    rng = np.random.default_rng(0)
    right = correlated(rng, 300, 4, 0.5, 0.9).ravel()
    clustered = st.ratio_interval(right, np.ones(1200), np.repeat(np.arange(300), 4))
    naive = st.ratio_interval(right, np.ones(1200), np.arange(1200))
    assert clustered.value == naive.value
    # design effect 1 + 3 * 0.9 = 3.7, so widths differ by sqrt(3.7)
    assert _width(clustered) / _width(naive) == pytest.approx(math.sqrt(3.7), rel=0.08)


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(0, 10, 0.0, 0.339), (10, 10, 0.661, 1.0), (0, 1, 0.0, 0.994), (1, 1, 0.006, 1.0)],
)
def test_nothing_is_certain_after_a_few_prompts(
    right: int, of: int, low: float, high: float
) -> None:
    interval = st.ratio_interval([right / of] * of, [1.0] * of, range(of))
    assert (interval.low, interval.high) == (
        pytest.approx(low, abs=1e-3),
        pytest.approx(high, abs=1e-3),
    )
    four_images_each = st.ratio_interval(
        [right / of] * (4 * of), [1] * (4 * of), np.repeat(np.arange(of), 4)
    )
    assert (four_images_each.low, four_images_each.high) == (interval.low, interval.high)


def test_prompts_that_all_have_half_their_images_right_are_not_certain() -> None:
    interval = st.ratio_interval([1, 0] * 10, [1] * 20, np.repeat(np.arange(10), 2))
    assert interval.value == 0.5
    assert _width(interval) > 0.3


def test_sums_of_prompts_give_the_interval_of_their_images() -> None:
    rng = np.random.default_rng(9)
    for rate in (0.02, 0.4):
        right = correlated(rng, 12, 4, rate, 0.3)
        images = st.ratio_interval(right.ravel(), np.ones(48), np.repeat(np.arange(12), 4))
        prompts = st.ratio_interval(right.sum(axis=1), np.full(12, 4), range(12))
        assert (prompts.value, prompts.low, prompts.high) == (
            images.value,
            images.low,
            images.high,
        )


def test_soft_scores_get_the_width_of_their_own_spread() -> None:
    rng = np.random.default_rng(1)
    scores = np.clip(rng.normal(0.4, 0.02, 500), 0, 1)
    interval = st.ratio_interval(scores, np.ones(500), range(500), resamples=4000)
    mean = float(np.mean(scores))
    own = float(np.var(scores, ddof=1)) / 500
    imaginary = (mean**2 + (1 - mean) ** 2) / 500**2  # a prompt at 0 and one at 1
    assert _width(interval) == pytest.approx(2 * 1.965 * math.sqrt(own + imaginary), rel=0.05)
    hardly = st.ratio_interval([0.97] * 19 + [0.9699], np.ones(20), range(20))
    same = st.ratio_interval([0.97] * 20, np.ones(20), range(20))
    assert _width(hardly) == pytest.approx(_width(same), rel=0.05)
    assert hardly.low < 0.85
    perfect = st.ratio_interval([1.0] * 20, np.ones(20), range(20))
    nearly = st.ratio_interval([0.99999] * 20, np.ones(20), range(20))
    assert nearly.low == pytest.approx(perfect.low, abs=0.01)
    constant = st.ratio_interval(np.full(20, 0.37), np.ones(20), range(20))
    assert _width(constant) > 0.1


def test_the_resamples_agree_with_scipy() -> None:
    rng = np.random.default_rng(2)
    above = rng.random(60)
    below = above + rng.random(60)
    theirs = stats.bootstrap(
        (above, below),
        lambda n, d, axis: n.sum(axis=axis) / d.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(3),
    )
    drawn = st.resampled_sums(np.stack([above, below], axis=1), 20_000, np.random.default_rng(4))
    ours = drawn[:, 0] / drawn[:, 1]
    assert np.std(ours, ddof=1) == pytest.approx(theirs.standard_error, rel=0.03)
    low, high = np.quantile(ours, [0.025, 0.975])
    width = high - low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)


def test_drawing_equal_rows_together_is_the_same_as_one_by_one() -> None:
    rows = np.repeat([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], [50, 30, 20], axis=0)
    together = st.resampled_sums(rows, 20_000, np.random.default_rng(0))
    nudged = rows + np.arange(100)[:, None] * 1e-9  # all distinct: drawn one by one
    single = st.resampled_sums(nudged, 20_000, np.random.default_rng(1))
    np.testing.assert_allclose(together.mean(axis=0), single.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(np.cov(together.T), np.cov(single.T), rtol=0.05)
    assert together[:, 1].var() == pytest.approx(100 * 0.8 * 0.2, rel=0.05)


def test_memory_bound_does_not_change_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).random((40, 2))
    monkeypatch.setattr(st, "CELLS", 100)
    drawn = st.resampled_sums(rows, 3001, np.random.default_rng(0))
    assert drawn.shape == (3001, 2)
    np.testing.assert_allclose(drawn.mean(axis=0), rows.sum(axis=0), rtol=0.02)


def test_many_statistics_at_once_equal_each_alone_and_any_order_of_rows() -> None:
    rng = np.random.default_rng(5)
    ids = np.array([f"p{i}" for i in np.repeat(np.arange(30), 4)])
    found = rng.random(120) < 0.6
    right = found & (rng.random(120) < 0.5)
    batch = st.ratio_intervals(
        np.stack([found, right, right], axis=1),
        np.stack([np.ones(120), np.ones(120), found], axis=1),
        ids,
    )
    assert batch[0] == st.ratio_interval(found, np.ones(120), ids)
    assert batch[2] == st.ratio_interval(right, found, pl.Series(ids))
    shuffled = rng.permutation(120)
    assert batch[2] == st.ratio_interval(right[shuffled], found[shuffled], ids[shuffled])
    assert batch[2] != st.ratio_interval(right, found, ids, seed=1)
    assert batch[2].n == found.sum()


def test_groups_are_scored_each_on_its_own() -> None:
    groups = ["left of", "above", "left of", "above", "above"]
    right, clusters = [1, 0, 0, 1, 1], ["a", "b", "c", "d", "d"]
    result = st.ratio_intervals_by(groups, right, [1] * 5, clusters)
    assert list(result) == ["above", "left of"]
    assert result["left of"] == st.ratio_interval([1, 0], [1, 1], ["a", "c"])
    assert result["above"] == st.ratio_interval([0, 1, 1], [1, 1, 1], ["b", "d", "d"])
    assert st.ratio_intervals_by([], [], [], []) == {}


def test_share_of_prompts() -> None:
    values, clusters = [1, 1, 0, 1, 0, 0], ["a", "a", "b", "b", "c", "c"]
    one, two = (st.cluster_share_interval(values, n, clusters) for n in (1, 2))
    assert (one.value, two.value) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (one.n_clusters, one.n) == (3, 6)


@pytest.mark.parametrize("prompts", [10, 40, 100])
@pytest.mark.parametrize("share", [0.002, 0.02, 0.1, 0.98])
def test_a_share_of_prompts_is_covered_however_rare(prompts: int, share: float) -> None:
    """Exactly: the probability of every count times whether its interval holds the truth."""
    values = np.tri(prompts + 1, prompts, -1)
    chances = [
        math.comb(prompts, k) * share**k * (1 - share) ** (prompts - k) for k in range(prompts + 1)
    ]
    covered = 0.0
    for k, chance in enumerate(chances):
        found = st.cluster_share_interval(values[k], 1, np.arange(prompts))
        assert found.low is not None and found.high is not None
        covered += chance * (found.low <= share <= found.high)
    assert covered >= 0.95


def test_few_prompts_have_their_own_degrees_of_freedom() -> None:
    """Variance over m - 1, and Student's quantile for m - 1: by hand for four soft scores."""
    scores = np.array([0.2, 0.4, 0.6, 0.8])
    found = st.ratio_interval(scores, np.ones(4), range(4), resamples=100_000)
    assert found.low is not None and found.high is not None
    variance, one_trial = scores.var(ddof=1) / 4, 0.25
    imaginary = 2 * 0.5**2 / 4**2
    trials = one_trial / (variance + imaginary)
    q = stats.t.ppf(0.975, 3)
    half = q / (2 * math.sqrt(trials + q * q))  # of Wilson's interval about one half
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.003)


def test_mean_of_tags_is_unweighted_and_covers() -> None:
    rng = np.random.default_rng(6)
    rates, sizes = (0.95, 0.6, 0.2, 0.05), (100, 40, 25, 60)
    truth, inside = float(np.mean(rates)), 0
    for seed in range(300):
        groups = {}
        for rate, size in zip(rates, sizes, strict=True):
            right = correlated(rng, size, 4, rate, 0.2).ravel()
            groups[str(rate)] = (right, np.ones(4 * size), np.repeat(np.arange(size), 4))
        interval = st.mean_of_ratios_interval(groups, resamples=200, seed=seed)
        assert interval.value == pytest.approx(
            np.mean([np.mean(right) for right, _, _ in groups.values()])
        )
        assert interval.low is not None and interval.high is not None
        inside += interval.low <= truth <= interval.high
    assert inside / 300 >= 0.93


def test_undefined_is_none_never_zero_or_nan() -> None:
    undefined = st.Interval(None, None, None, 0, 0)
    assert st.ratio_interval([], [], []) == undefined
    assert st.ratio_interval([0, 0], [0, 0], ["a", "b"]) == undefined
    assert st.cluster_share_interval([], 1, []) == undefined
    assert st.mean_of_ratios_interval({}) == undefined
    empty_tag = st.mean_of_ratios_interval({"a": ([1], [1], ["x"]), "b": ([0], [0], ["y"])})
    assert (empty_tag.value, empty_tag.low, empty_tag.n) == (None, None, 1)


def test_bad_input_is_refused_with_what_was_seen() -> None:
    with pytest.raises(InputError, match="finite"):
        st.ratio_interval([float("nan")], [1], ["a"])
    with pytest.raises(InputError, match="0 <= numerator <= denominator"):
        st.ratio_interval([2], [1], ["a"])
    with pytest.raises(InputError, match="0 <= numerator <= denominator"):
        st.ratio_interval([-1], [1], ["a"])
    with pytest.raises(InputError, match="2 cluster ids for 1 rows"):
        st.ratio_interval([1], [1], ["a", "b"])
    with pytest.raises(InputError, match="1 rows have no cluster id"):
        st.ratio_interval([1, 1], [1, 1], ["a", None])
    with pytest.raises(InputError, match="must both be"):
        st.ratio_interval([1, 1], [1], ["a", "b"])
    with pytest.raises(InputError, match="all be strings or all be integers"):
        st.ratio_interval([1, 1], [1, 1], ["a", 1])
    with pytest.raises(InputError, match="level"):
        st.ratio_interval([1], [1], ["a"], level=95)
    with pytest.raises(InputError, match="resamples"):
        st.ratio_interval([1], [1], ["a"], resamples=1)


def _width(interval: st.Interval) -> float:
    assert interval.low is not None and interval.high is not None
    return interval.high - interval.low


def test_rounding_beyond_one_is_forgiven() -> None:
    interval = st.ratio_interval([1.0 + 1e-12, 0.5], [1.0, 1.0], ["a", "b"])
    assert interval.value == 0.75
