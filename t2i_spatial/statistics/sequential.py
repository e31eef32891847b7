"""Confidence sequences: intervals that stay valid however often one looks, so one may stop early.

Prompts are judged in random order, without replacement from a finite prompt set. After every
prompt the sequence encloses the number that the *whole* set would give; with probability `level`
it does so at all times at once. It is made by betting: for a candidate r the gambler's capital is
a martingale if r is the number of the whole set, and can then exceed 2 / (1 - level) with
probability (1 - level) / 2 at most; the candidates that made the gambler rich are ruled out.

Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"
(Journal of the Royal Statistical Society B 86:1), sections 4 and 5 (without replacement). It
differs in three ways. The bet for a target half-width h is the growth-optimal one against a
candidate that is h off, h / (variance + h^2), scaled by N / (N - i + 1) as what is left of the set
shrinks. Several targets share the capital. Ratios of two sums are covered: r is the ratio iff the
numbers n_j - r d_j add up to 0 over the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.errors import InputError

Floats = NDArray[np.float64]

CAUTION = 0.75
"""A bet never risks more than this share of the capital."""

_STEPS = 24  # halvings of [0, 1] when looking for a bound: 6e-8


@dataclass(frozen=True)
class Bounds:
    """A confidence sequence at one time.

    Attributes:
        value: the estimate from what was seen, `None` while the denominator is empty.
        low, high: encloses the number of the whole set.
        n: clusters (prompts) seen.
    """

    value: float | None
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of the width."""
        return (self.high - self.low) / 2


class ConfidenceSequence:
    """The sequence for sum(numerator) / sum(denominator) over a finite set of clusters.

    Args:
        population: clusters of the whole set, `None` for an endless supply.
        targets: half-widths at which one would like to stop, as fractions; the sequence is
            sharpest when it is about that wide.
        level: probability that the true number is inside at all times.

    Raises:
        InputError: an impossible population, target or level.

    >>> sequence = ConfidenceSequence(100, targets=[0.1])
    >>> sequence.update(np.full(100, 0.25))
    >>> sequence.bounds()
    Bounds(value=0.25, low=0.25, high=0.25, n=100)
    """

    def __init__(
        self, population: int | None, *, targets: Sequence[float], level: float = 0.95
    ) -> None:
        if population is not None and population < 1:
            raise InputError(f"the population must have at least one prompt, got {population}")
        if not targets or not all(0 < t < 1 for t in targets):
            raise InputError(f"target half-widths must be between 0 and 1, got {list(targets)}")
        if not 0 < level < 1:
            raise InputError(f"level must be between 0 and 1, got {level}")
        self.population = population
        self.targets = tuple(targets)
        self.level = level
        self._above = np.empty(0)
        self._below = np.empty(0)

    def update(self, numerator: ArrayLike, denominator: ArrayLike | None = None) -> None:
        """Add the next clusters, in the order in which they were drawn.

        Args:
            numerator: (n,) with 0 <= numerator <= denominator.
            denominator: (n,) in [0, 1], default 1: then the numerator is the cluster's mean.

        Raises:
            InputError: values out of range, or more clusters than the population has.
        """
        above = np.atleast_1d(np.asarray(numerator, dtype=np.float64))
        below = (
            np.ones_like(above)
            if denominator is None
            else np.atleast_1d(np.asarray(denominator, dtype=np.float64))
        )
        if above.ndim != 1 or above.shape != below.shape:
            raise InputError(f"numerator {above.shape} and denominator {below.shape} differ")
        if not (np.isfinite(above).all() and np.isfinite(below).all()):
            raise InputError("values must be finite; a missing image is no number")
        if (above < 0).any() or (above > below).any() or (below > 1).any():
            raise InputError("every cluster needs 0 <= numerator <= denominator <= 1")
        seen = len(self._above) + len(above)
        if self.population is not None and seen > self.population:
            raise InputError(f"{seen} clusters of a set of {self.population}")
        self._above = np.concatenate([self._above, above])
        self._below = np.concatenate([self._below, below])

    def bounds(self, n: int | None = None) -> Bounds:
        """The sequence after the first `n` clusters (default: all seen); never widens with n."""
        above, below = self._above[:n], self._below[:n]
        value = float(above.sum() / below.sum()) if below.sum() > 0 else None
        if len(above) == self.population and value is not None:
            return Bounds(value, value, value, len(above))
        game = _Game(above[None], below[None], self.population, self.targets)
        rich = np.log(2 / (1 - self.level))
        low = _bisect(lambda r: bool(game.log_capital(np.array([r]), 1).max(initial=0) >= rich))
        high = 1 - _bisect(
            lambda r: bool(game.log_capital(np.array([1 - r]), -1).max(initial=0) >= rich)
        )
        if low > high:  # the 1 in 20 case seen to be one: say where the data are, with no width
            low = high = min(max(value or 0.0, high), low)
        return Bounds(value, low, high, len(above))


class DifferenceSequence:
    """A confidence sequence for the mean of per-prompt differences in [-1, 1].

    Arguments as `ConfidenceSequence`; bounds and targets are on the scale of the difference.

    >>> sequence = DifferenceSequence(1000, targets=[0.1])
    >>> sequence.update(np.full(400, 0.3))
    >>> sequence.bounds().low > 0
    True
    """

    def __init__(
        self, population: int | None, *, targets: Sequence[float], level: float = 0.95
    ) -> None:
        self._half = ConfidenceSequence(
            population, targets=[target / 2 for target in targets], level=level
        )

    @property
    def population(self) -> int | None:
        """Clusters of the whole set."""
        return self._half.population

    def update(self, differences: ArrayLike) -> None:
        """Add the next per-prompt differences (mean of B minus mean of A), (n,) in [-1, 1].

        Raises:
            InputError: values out of range, or more clusters than the population has.
        """
        values = np.atleast_1d(np.asarray(differences, dtype=np.float64))
        if not (np.isfinite(values).all() and (np.abs(values) <= 1).all()):
            raise InputError("differences must be finite and between -1 and 1")
        self._half.update((values + 1) / 2)

    def bounds(self, n: int | None = None) -> Bounds:
        """As `ConfidenceSequence.bounds`."""
        half = self._half.bounds(n)
        value = None if half.value is None else 2 * half.value - 1
        return Bounds(value, 2 * half.low - 1, 2 * half.high - 1, half.n)


@dataclass(frozen=True)
class PrecisionRule:
    """Stop when the number is known to ± `half_width`."""

    half_width: float

    @property
    def targets(self) -> tuple[float, ...]:
        """Half-widths for the sequence."""
        return (self.half_width,)

    def verdict(self, bounds: Bounds) -> str | None:
        """`"precise"`, or `None` to go on."""
        return "precise" if bounds.half_width <= self.half_width else None


@dataclass(frozen=True)
class DecisionRule:
    """Stop when it is clear which of two runs is better, or that they differ by little.

    Attributes:
        margin: differences up to this are of no interest, as a fraction.
    """

    margin: float = 0.02

    @property
    def targets(self) -> tuple[float, ...]:
        """Half-widths for the sequence: from the margin up, as large differences show sooner."""
        return tuple(t for t in (self.margin * 2.5**k for k in range(5)) if t < 1)

    def verdict(self, bounds: Bounds) -> str | None:
        """`"b_better"`, `"a_better"`, `"similar"` (within the margin), or `None` to go on."""
        if bounds.low > 0:
            return "b_better"
        if bounds.high < 0:
            return "a_better"
        if bounds.low >= -self.margin and bounds.high <= self.margin:
            return "similar"
        return None


@dataclass(frozen=True)
class StopResult:
    """When a rule stopped a sequence.

    Attributes:
        bounds: the sequence at that time; `bounds.n` prompts were needed.
        verdict: the rule's word, or `"exhausted"` when the data ended first.
        population: prompts of the whole set, `None` when endless.
    """

    bounds: Bounds
    verdict: str
    population: int | None


def stop_at_precision(
    numerators: ArrayLike,
    precision: float,
    population: int | None,
    *,
    denominators: ArrayLike | None = None,
    level: float = 0.95,
) -> StopResult:
    """The first time a number is known to ± `precision`, from clusters in random order.

    Args:
        numerators, denominators: (n,) per cluster, see `ConfidenceSequence.update`.
        population: clusters of the whole set.

    Raises:
        InputError: as `ConfidenceSequence`.

    >>> rng = np.random.default_rng(0)
    >>> result = stop_at_precision(rng.random(5000) < 0.3, 0.05, 5000)
    >>> result.verdict, result.bounds.n < 1000
    ('precise', True)
    """
    rule = PrecisionRule(precision)
    sequence = ConfidenceSequence(population, targets=rule.targets, level=level)
    sequence.update(numerators, denominators)
    return first_stop(sequence, rule, len(np.atleast_1d(np.asarray(numerators))))


def stop_at_decision(
    differences: ArrayLike, population: int | None, *, margin: float = 0.02, level: float = 0.95
) -> StopResult:
    """The first time two runs are told apart, from per-prompt differences in random order.

    Args:
        differences: (n,) mean of B minus mean of A, per prompt.
        population: prompts of the whole set.
        margin: smaller differences are "similar".

    Raises:
        InputError: as `DifferenceSequence`.
    """
    rule = DecisionRule(margin)
    sequence = DifferenceSequence(population, targets=rule.targets, level=level)
    sequence.update(differences)
    return first_stop(sequence, rule, len(np.atleast_1d(np.asarray(differences))))


def first_stop(
    sequence: ConfidenceSequence | DifferenceSequence,
    rule: PrecisionRule | DecisionRule,
    n: int,
) -> StopResult:
    """The smallest number of clusters, up to `n`, after which `rule` stops `sequence`."""
    last = sequence.bounds(n)
    verdict = rule.verdict(last)
    if verdict is None:
        return StopResult(last, "exhausted", sequence.population)
    # bounds only ever tighten, so a rule that has stopped stays stopped
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if rule.verdict(sequence.bounds(middle)) is None:
            low = middle + 1
        else:
            high = middle
    bounds = sequence.bounds(high)
    return StopResult(bounds, rule.verdict(bounds) or verdict, sequence.population)


def ever_excluded(
    numerators: ArrayLike,
    denominators: ArrayLike,
    truth: ArrayLike,
    population: int | None,
    *,
    targets: Sequence[float],
    level: float = 0.95,
) -> NDArray[np.bool_]:
    """Whether the sequence of each of s simulated runs ever excluded the truth.

    Args:
        numerators, denominators: (s, t) clusters of s runs in the order drawn.
        truth: (s,) the number of the whole set in each run.

    Returns:
        (s,) booleans; at most 1 - level of them should be true.
    """
    game = _Game(
        np.asarray(numerators, dtype=np.float64),
        np.asarray(denominators, dtype=np.float64),
        population,
        targets,
    )
    rates = np.asarray(truth, dtype=np.float64)
    rich = np.log(2 / (1 - level))
    out = np.zeros(len(rates), dtype=bool)
    for side in (1, -1):
        out |= game.log_capital(rates, side).max(axis=1, initial=0) >= rich
    return out


class _Game:
    """The gambler's capital against any candidate, for s runs of t clusters at once."""

    def __init__(
        self, above: Floats, below: Floats, population: int | None, targets: Sequence[float]
    ) -> None:
        t = above.shape[1]
        left = np.full(t, np.inf) if population is None else population - np.arange(t)
        before_n, before_d = (_before(np.cumsum(x, axis=1)) for x in (above, below))
        self.above, self.below = above, below
        # what the seen clusters leave for the mean of the rest, per unit of candidate
        self.rest_n, self.rest_d = before_n / left, before_d / left
        i = np.arange(t)
        rate = (0.5 + before_n) / (1 + before_d)
        squares = (above - rate * below) ** 2
        variance = (0.25 + _before(np.cumsum(squares, axis=1))) / (1 + i)
        scale = (1 + before_d) / (1 + i)
        if population is not None:
            scale = scale * population / left
        self.bets = []
        for target in targets:
            edge = target * scale
            self.bets.append(edge / (variance + edge**2))

    def log_capital(self, rates: Floats, side: int) -> Floats:
        """(s, t) log capital of betting that the truth is above (`side` 1) or below the rates."""
        candidate = rates[:, None]
        gain = side * (self.above + self.rest_n - candidate * (self.below + self.rest_d))
        if side > 0:
            worst = candidate * (1 + self.rest_d) - self.rest_n
        else:
            worst = (1 - candidate) + self.rest_n - candidate * self.rest_d
        # a candidate that what is left of the set cannot reach any more is ruled out for certain
        impossible = worst < -1e-12
        limit = CAUTION / np.maximum(worst, 1e-12)
        total: Floats | None = None
        for bet in self.bets:
            growth = np.cumsum(np.log1p(np.minimum(bet, limit) * gain), axis=1)
            total = growth if total is None else np.logaddexp(total, growth)
        assert total is not None
        total -= np.log(len(self.bets))
        total[np.logical_or.accumulate(impossible, axis=1)] = np.inf
        return total


def _bisect(excluded: Callable[[float], bool]) -> float:
    """The largest r in [0, 1], rounded down, such that everything below it is excluded."""
    low, high = 0.0, 1.0
    if not excluded(0.0):
        return 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if excluded(middle):
            low = middle
        else:
            high = middle
    return low


def _before(cumulative: Floats) -> Floats:
    return np.concatenate([np.zeros((len(cumulative), 1)), cumulative[:, :-1]], axis=1)


def prompt_order(prompt_ids: Iterable[str], seed: int = 0) -> list[str]:
    """The ids in a random order that depends on the set of ids and the seed alone.

    Raises:
        ValueError: an id occurs twice.

    >>> prompt_order(["c", "a", "b"], seed=1) == prompt_order(["a", "b", "c"], seed=1)
    True
    """
    ids = sorted(prompt_ids)
    if len(set(ids)) != len(ids):
        raise ValueError("prompt ids must be unique")
    return [ids[k] for k in np.random.default_rng(seed).permutation(len(ids))]
