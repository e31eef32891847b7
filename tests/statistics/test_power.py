"""Power: what the formula promises is what simulated comparisons give."""

from __future__ import annotations

import numpy as np
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.paired import paired_difference
from t2i_spatial.statistics.power import (
    detectable_difference,
    intraclass_correlation,
    prompts_needed,
    sd_of_pilot,
    sd_of_rates,
)


def simulate(rng: np.random.Generator, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates 0.3 and 0.4, icc 0.3, independent difficulties."""
    scale = 1 / 0.3 - 1
    runs = []
    for rate in (0.3, 0.4):
        difficulty = rng.beta(rate * scale, (1 - rate) * scale, prompts)[:, None]
        runs.append((rng.random((prompts, 4)) < difficulty).astype(float))
    return runs[0], runs[1]


def test_the_number_of_prompts_has_the_promised_power() -> None:
    sd = sd_of_rates(0.3, 0.4, samples=4, icc=0.3)
    prompts = prompts_needed(0.1, sd, power=0.8)
    rng = np.random.default_rng(0)
    ones, clusters = np.ones(4 * prompts), np.repeat(np.arange(prompts), 4)
    seen = 0
    for seed in range(300):
        a, b = simulate(rng, prompts)
        result = paired_difference(
            a.ravel(), ones, b.ravel(), ones, clusters, resamples=300, seed=seed
        )
        seen += result.p is not None and result.p <= 0.05
    assert 0.72 <= seen / 300 <= 0.88


def test_rates_and_pilot_agree() -> None:
    a, b = simulate(np.random.default_rng(1), 5000)
    clusters = np.repeat(np.arange(5000), 4)
    pilot = sd_of_pilot(a.ravel(), b.ravel(), clusters)
    assert pilot == pytest.approx(sd_of_rates(0.3, 0.4, samples=4, icc=0.3), rel=0.03)
    assert intraclass_correlation(a.ravel(), clusters) == pytest.approx(0.3, abs=0.03)


def test_shared_difficulty_needs_fewer_prompts() -> None:
    alone = sd_of_rates(0.3, 0.32, samples=4, icc=0.5)
    shared = sd_of_rates(0.3, 0.32, samples=4, icc=0.5, shared=0.9)
    assert prompts_needed(0.02, shared) < 0.6 * prompts_needed(0.02, alone)


def test_detectable_difference_is_the_inverse() -> None:
    for prompts in (50, 2000):
        assert prompts_needed(detectable_difference(prompts, 0.4), 0.4) == pytest.approx(
            prompts, abs=1
        )


def test_correlation_of_degenerate_input() -> None:
    assert intraclass_correlation([1, 0], ["a", "b"]) is None
    assert intraclass_correlation([1, 0], ["a", "a"]) is None
    assert intraclass_correlation([1, 1, 1, 1], ["a", "a", "b", "b"]) is None
    assert intraclass_correlation([], []) is None
    assert intraclass_correlation([1, 0, 1, 0], ["a", "a", "b", "b"]) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prompts_needed(0, 0.3), "difference"),
        (lambda: prompts_needed(0.02, -1), "sd"),
        (lambda: prompts_needed(0.02, 0.3, power=1), "power"),
        (lambda: detectable_difference(1, 0.3), "too few"),
        (lambda: sd_of_rates(30, 0.3, samples=4, icc=0.3), "rates"),
        (lambda: sd_of_pilot([1], [0], ["a"]), "two prompts"),
        (lambda: sd_of_pilot([1, 2], [0], ["a"]), "same length|broadcast"),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]
