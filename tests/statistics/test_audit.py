"""The audited number: against ppi-python's recorded results, by its defining properties, and by
simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.audit import (
    Anchor,
    agreement,
    anchor,
    difference,
    interval,
    labels_needed,
    ratio,
)

FIRST = 150


def sample(n=600, labels=FIRST, seed=7):
    """Scores and true labels of n images, the first of them labelled."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.6) * 1.0
    f = np.clip(np.where(rng.random(n) < 0.85, y, 1 - y) * 0.7 + 0.3 * rng.random(n), 0, 1)
    known = np.where(np.arange(n) < labels, y, np.nan)
    return y, f, known, np.full(n, labels / n), np.arange(n)


# ppi-python 0.2.3, ppi_mean_pointestimate and ppi_mean_ci(alpha=0.05) on Y = y[:150],
# Yhat = f[:150], Yhat_unlabeled = f[150:] of `sample`; None: power tuning
RECORDED = [
    (0.0, 0.61333333, 0.53540074, 0.69126592),
    (0.5, 0.59809381, 0.53552753, 0.66066009),
    (1.0, 0.58285428, 0.5197517, 0.64595686),
    (None, 0.59099228, 0.53042051, 0.65156405),
]


@pytest.mark.parametrize(("weight", "value", "low", "high"), RECORDED)
def test_is_the_estimator_of_ppi_python(weight, value, low, high):
    """There, labelled images are no part of the others: its weight is ours times 1 - n/N."""
    _, f, known, pi, prompts = sample()
    ours = None if weight is None else weight / (1 - FIRST / 600)
    found = anchor(known, f, pi, prompts, weight=ours)
    # the fitted weights differ in what they take variances of: labels here, all images there
    assert found.value == pytest.approx(value, abs=1e-8 if weight is not None else 1e-3)
    plain = interval(found, pi, prompts)
    variance = plain.error**2 - found.floor
    assert 1.959964 * math.sqrt(variance) == pytest.approx((high - low) / 2, rel=0.01)


def test_all_labelled_is_the_exact_mean_without_width_for_these_images():
    y, f, _, _, prompts = sample(40)
    ones = np.ones(40)
    found = interval(anchor(y, f, ones, prompts, weight=1), ones, prompts, target="images")
    assert found.value == pytest.approx(y.mean())
    assert found.high - found.low == pytest.approx(0, abs=1e-12)


def test_weight_zero_is_labels_only_and_a_fitted_weight_is_shorter():
    y, f, known, pi, prompts = sample()
    alone = interval(anchor(known, f, pi, prompts, weight=0), pi, prompts)
    fitted = interval(anchor(known, f, pi, prompts), pi, prompts)
    assert alone.value == pytest.approx(y[:FIRST].mean())
    assert fitted.error < alone.error
    assert fitted.worth > fitted.n
    assert alone.worth == pytest.approx(alone.n)


def test_unequal_probabilities_are_weighted():
    y = np.array([1, 1, 1, 0, np.nan, np.nan])
    pi = np.array([1, 1, 1, 0.25, 0.25, 0.25])
    found = anchor(y, np.zeros(6), pi, np.arange(6))
    assert found.value == pytest.approx(3 / 7)  # 0.75 without the weights
    assert found.n_eff == pytest.approx(49 / (3 + 16))


def test_labels_without_probability_have_no_mean():
    y = np.array([1.0, 0.0, np.nan])
    with pytest.raises(InputError, match="unweighted"):
        anchor(y, np.zeros(3), np.array([0.5, np.nan, 0.5]), np.arange(3))
    with pytest.raises(InputError, match="no label"):
        anchor(np.full(3, np.nan), np.zeros(3), np.ones(3), np.arange(3))
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        anchor(np.array([2.0, 0, 0]), np.zeros(3), np.ones(3), np.arange(3))
    with pytest.raises(InputError, match="length"):
        anchor(y, np.zeros(2), np.ones(3), np.arange(3))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["model", "images"]))
def test_order_of_rows_does_not_matter(seed, target):
    _, f, known, pi, prompts = sample(80, 30, seed)
    prompts = prompts // 2
    order = np.random.default_rng(seed).permutation(80)
    a = interval(anchor(known, f, pi, prompts), pi, prompts, target=target)
    b = interval(
        anchor(known[order], f[order], pi[order], prompts[order]),
        pi[order],
        prompts[order],
        target=target,
    )
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


def test_copies_of_images_within_their_prompts_add_nothing():
    _, f, known, pi, prompts = sample(400, 100)
    once = interval(anchor(known, f, pi, prompts), pi, prompts)
    twice = [np.concatenate([x, x]) for x in (known, f, pi, prompts)]
    again = interval(anchor(*twice), twice[2], twice[3])
    assert again.error == pytest.approx(once.error, rel=0.05)


def test_no_error_among_the_labels_is_no_certainty():
    y = np.tile([1.0, 0.0], 200)
    known = np.where(np.arange(400) < 60, y, np.nan)
    pi, prompts = np.full(400, 0.15), np.arange(400)
    found = interval(anchor(known, y, pi, prompts), pi, prompts, target="images")
    least = 2.0 * math.sqrt(2) / 60 * math.sqrt(1 - 60 / 400)
    assert least <= (found.high - found.low) / 2 < 1.05 * least
    assert found.floor


def test_same_run_differs_by_nothing_and_other_labels_still_compare():
    _, f, known, pi, prompts = sample()
    a = anchor(known, f, pi, prompts)
    none = difference(a, prompts, a, prompts)
    assert (none.value, none.low, none.high) == (0, 0, 0)
    y, g, _, _, _ = sample(seed=8)
    other = np.where(np.arange(600) >= 450, y, np.nan)
    b = anchor(other, g, pi, prompts)
    apart = difference(a, prompts, b, prompts)
    assert apart.low < apart.value < apart.high
    assert apart.value == pytest.approx(b.value - a.value)


def test_pairing_uses_what_prompts_have_in_common():
    rng = np.random.default_rng(3)
    hard = rng.random(800)
    y_a, y_b = (hard < 0.5) * 1.0, (hard < 0.6) * 1.0
    seen, pi, prompts = np.arange(800) < 200, np.full(800, 0.25), np.arange(800)
    f = np.full(800, 0.5)
    a = anchor(np.where(seen, y_a, np.nan), f, pi, prompts)
    b = anchor(np.where(seen, y_b, np.nan), f, pi, prompts)
    paired = difference(a, prompts, b, prompts)
    apart = difference(a, prompts, b, prompts + 10_000)
    assert paired.error < 0.75 * apart.error


def test_ratio_is_that_of_two_audited_numbers():
    rng = np.random.default_rng(5)
    both = (rng.random(500) < 0.7) * 1.0
    right = both * (rng.random(500) < 0.6)
    seen, pi, prompts = np.arange(500) < 120, np.full(500, 0.24), np.arange(500)
    above, below = (anchor(np.where(seen, x, np.nan), x, pi, prompts) for x in (right, both))
    found = interval(ratio(above, below), pi, prompts)
    assert found.value == pytest.approx(above.value / below.value)
    assert found.low < right.sum() / both.sum() < found.high
    none = np.zeros(5)
    empty = Anchor(0.0, 0.0, none, none, none > 0, (), 5, 5.0, 1, 0.1, 0.0, 0.1)
    with pytest.raises(InputError, match="no image counts"):
        ratio(above, empty)


def covered(runs, one):
    return float(np.mean([one(np.random.default_rng([11, k])) for k in range(runs)]))


def test_coverage_of_clusters_and_what_ignoring_them_costs():
    def one(rng, by_prompt=True):
        effect = np.repeat(rng.normal(size=100) * 2, 4)
        y = (rng.random(400) < 1 / (1 + np.exp(-effect))) * 1.0
        f = np.where(rng.random(400) < 0.9, y, 1 - y)
        prompts = np.repeat(np.arange(100), 4)
        seen = np.isin(prompts, rng.choice(100, 30, replace=False))
        pi = np.full(400, 0.3)
        groups = prompts if by_prompt else np.arange(400)
        found = interval(anchor(np.where(seen, y, np.nan), f, pi, groups), pi, groups)
        return found.low <= 0.5 <= found.high

    assert 0.91 <= covered(250, one) <= 0.99
    assert covered(250, lambda rng: one(rng, by_prompt=False)) < 0.91


def test_coverage_of_unequal_probabilities_and_several_witnesses():
    def one(rng, columns=5):
        p = rng.beta(0.5, 0.5, size=600)
        y = (rng.random(600) < p) * 1.0
        spread = np.sqrt(p * (1 - p))
        pi = np.minimum(1, 0.75 * 100 * spread / spread.sum() + 0.25 * 100 / 600)
        seen = rng.random(600) < pi
        scores = np.stack([p, *(rng.random((columns - 1, 600)) * 0.5 + y * 0.1)], axis=1)
        prompts = np.arange(600)
        found = interval(anchor(np.where(seen, y, np.nan), scores, pi, prompts), pi, prompts)
        assert (found.weights == ()) == (columns > 3)
        return found.low <= 0.5 <= found.high

    assert 0.91 <= covered(150, one) <= 0.99
    assert 0.91 <= covered(150, lambda rng: one(rng, columns=2)) <= 0.99


def test_planning_agrees_with_what_is_measured():
    needed = labels_needed(0.07, 0.6, 0.0)
    _, f, known, pi, prompts = sample(20_000, needed)
    found = interval(anchor(known, f, pi, prompts, weight=0), pi, prompts)
    assert (found.high - found.low) / 2 == pytest.approx(0.07, rel=0.1)
    assert labels_needed(0.3, 0.5, 0.9) == 50
    assert labels_needed(0.01, 0.5, 0.5, images=200) == 200
    for wrong in (0, 1.5):
        with pytest.raises(InputError, match="half-width"):
            labels_needed(wrong, 0.5, 0.5)
    with pytest.raises(InputError, match="rate"):
        labels_needed(0.1, 1.5, 0.5)


def test_agreement_of_annotators():
    a, b = list("yyynnnyyunynyynn"), list("yynnnnyyuuynyyny")
    found = agreement(a, b, np.arange(len(a)))
    assert found["raw"][0] == pytest.approx(13 / 16)
    assert found["kappa"][0] == pytest.approx(0.6756756756756757)  # scikit-learn 1.9.1
    assert found["ac1"][1] <= found["ac1"][0] <= found["ac1"][2]
    # two categories in equal parts: AC1 and kappa are (raw - 1/2) / (1/2)
    even = agreement(list("yynn"), list("ynny"), np.arange(4))
    assert even["ac1"][0] == pytest.approx(even["kappa"][0]) == pytest.approx(0.0)
    assert agreement(list("yyy"), list("yyy"), np.arange(3))["kappa"] is None
    assert agreement([], [], [])["raw"] is None
