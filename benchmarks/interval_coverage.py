"""How often intervals and p-values keep their promise, on simulated runs; and how fast they are.

    python benchmarks/interval_coverage.py [--runs 1000] [--seed 0]

Prompts have four images whose correlation within a prompt is drawn from a beta distribution of
difficulties. `given` is a ratio with a random denominator, as VISOR_cond.
"""

from __future__ import annotations

import argparse
import itertools
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from t2i_spatial.statistics.intervals import (
    Interval,
    cluster_sums,
    ratio_interval,
    resampled_sums,
    wilson,
)
from t2i_spatial.statistics.paired import paired_difference

SAMPLES = 4
Span = tuple[float, float]


def outcomes(rng: np.random.Generator, prompts: int, rate: float, icc: float) -> np.ndarray:
    if icc == 0:
        return rng.random((prompts, SAMPLES)) < rate
    scale = 1 / icc - 1
    difficulty = rng.beta(rate * scale, (1 - rate) * scale, prompts)
    return rng.random((prompts, SAMPLES)) < difficulty[:, None]


def ours(above: np.ndarray, below: np.ndarray, clusters: np.ndarray, seed: int) -> Span | None:
    found: Interval = ratio_interval(above, below, clusters, resamples=500, seed=seed)
    if found.low is None or found.high is None:
        return None
    return found.low, found.high


def percentile(
    above: np.ndarray, below: np.ndarray, clusters: np.ndarray, seed: int
) -> Span | None:
    n, d = cluster_sums(above.astype(float), below.astype(float), clusters, int(clusters.max()) + 1)
    if len(d) == 0:
        return None
    drawn = resampled_sums(np.stack([n, d], axis=1), 500, np.random.default_rng(seed))
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(low), float(high)


def unclustered(
    above: np.ndarray, below: np.ndarray, clusters: np.ndarray, seed: int
) -> Span | None:
    total = float(below.sum())
    return wilson(float(above.sum()) / total, total) if total else None


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, int], Span | None]] = {
    "t2i-spatial": ours,
    "percentile": percentile,
    "Wilson, images": unclustered,
}


def intervals(rng: np.random.Generator, runs: int) -> None:
    print(f"\n## Coverage of 95 % intervals, {runs:,} runs of each of 24 settings per row\n")
    print("rates 0.02, 0.1, 0.5, 0.8; correlation 0, 0.2, 0.6; all images, and given a half\n")
    heads = " | ".join(f"{name}: mean, lowest" for name in METHODS)
    print(f"| prompts | {heads} |\n|---|{'---|' * len(METHODS)}")
    for prompts in (3, 5, 10, 20, 60, 240, 1000):
        clusters = np.repeat(np.arange(prompts), SAMPLES)
        found: dict[str, list[float]] = {name: [] for name in METHODS}
        settings = itertools.product((0.02, 0.1, 0.5, 0.8), (0, 0.2, 0.6), (False, True))
        for rate, icc, given in settings:
            inside = dict.fromkeys(METHODS, 0)
            defined = 0
            for run in range(runs):
                right = outcomes(rng, prompts, rate, icc).ravel()
                below = outcomes(rng, prompts, 0.5, 0.3).ravel() if given else np.ones(right.size)
                spans = {
                    name: method(right * below, below, clusters, run)
                    for name, method in METHODS.items()
                }
                if None in spans.values():
                    continue
                defined += 1
                for name, span in spans.items():
                    inside[name] += span is not None and span[0] <= rate <= span[1]
            for name in METHODS:
                found[name].append(inside[name] / defined)
        cells = " | ".join(f"{100 * np.mean(c):.1f}, {100 * np.min(c):.1f}" for c in found.values())
        print(f"| {prompts:,} | {cells} |", flush=True)


def scores(rng: np.random.Generator, prompts: int, failing: float, spread: float) -> np.ndarray:
    """Soft scores near 0.95 minus a spread, but near 0 for a share of the prompts."""
    good = np.clip(rng.normal(0.95 - 2 * spread, spread, (prompts, 1)), 0, 1)
    bad = rng.uniform(0, 0.05, (prompts, 1))
    return np.where(rng.random((prompts, 1)) < failing, bad, good)


def soft(rng: np.random.Generator, runs: int) -> None:
    print(f"\n## Soft scores, {runs:,} runs of each of 8 settings per row\n")
    print("failing prompts 0, 1, 3, 10 %; the others near 0.93 +- 0.01 or 0.75 +- 0.1\n")
    print("| prompts | coverage: mean, lowest | with paired runs |\n|---|---|---|")
    settings = list(itertools.product((0.0, 0.01, 0.03, 0.1), (0.01, 0.1)))
    for prompts in (5, 20, 100, 400):
        ids, ones = np.arange(prompts), np.ones(prompts)
        alone, paired = [], []
        for failing, spread in settings:
            truth = float(scores(rng, 1_000_000, failing, spread).mean())
            sound = float(scores(rng, 1_000_000, 0.0, spread).mean())
            inside = between = 0
            for run in range(runs):
                b = scores(rng, prompts, failing, spread).ravel()
                a = scores(rng, prompts, 0.0, spread).ravel()
                one = ratio_interval(b, ones, ids, resamples=500, seed=run)
                two = paired_difference(a, ones, b, ones, ids, resamples=500, seed=run)
                inside += one.low <= truth <= one.high
                between += two.low <= truth - sound <= two.high
            alone.append(inside / runs)
            paired.append(between / runs)
        cells = " | ".join(f"{100 * np.mean(c):.1f}, {100 * min(c):.1f}" for c in (alone, paired))
        print(f"| {prompts} | {cells} |", flush=True)


def pairs(rng: np.random.Generator, runs: int) -> None:
    print(f"\n## Paired differences, {runs:,} runs of each of 6 settings per row\n")
    print("| prompts | coverage: mean, lowest | p <= 0.05 without a difference: mean, highest |")
    print("|---|---|---|")
    for prompts in (5, 10, 30, 100, 400):
        clusters, ones = np.repeat(np.arange(prompts), SAMPLES), np.ones(prompts * SAMPLES)
        covered, alarms = [], []
        for rate, gain in itertools.product((0.05, 0.3, 0.7), (0.0, 0.1)):
            inside = alarm = 0
            for run in range(runs):
                a = outcomes(rng, prompts, rate, 0.3)
                # half of B's images are those of A, the rest of the same distribution
                b = np.where(rng.random(a.shape) < 0.5, a, outcomes(rng, prompts, rate, 0.3)) | (
                    rng.random(a.shape) < gain
                )
                found = paired_difference(
                    a.ravel(), ones, b.ravel(), ones, clusters, resamples=500, seed=run
                )
                assert found.low is not None and found.high is not None and found.p is not None
                inside += found.low <= gain * (1 - rate) <= found.high
                alarm += found.p <= 0.05
            covered.append(inside / runs)
            if gain == 0:
                alarms.append(alarm / runs)
        print(
            f"| {prompts} | {100 * np.mean(covered):.1f}, {100 * min(covered):.1f} | "
            f"{100 * np.mean(alarms):.1f}, {100 * max(alarms):.1f} |",
            flush=True,
        )


def speed(rng: np.random.Generator) -> None:
    print("\n## 10,000 resamples of 101,120 images of 25,280 prompts\n")
    print("| values | seconds | peak memory |\n|---|---|---|")
    clusters = np.repeat(np.arange(25_280), SAMPLES)
    ones = np.ones(len(clusters))
    right = outcomes(rng, 25_280, 0.3, 0.3).ravel()
    for name, values in (("right or wrong", right), ("soft scores", rng.random(len(ones)))):
        start = time.perf_counter()
        ratio_interval(values, ones, clusters, resamples=10_000)
        seconds = time.perf_counter() - start
        tracemalloc.start()
        ratio_interval(values, ones, clusters, resamples=10_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"| {name} | {seconds:.2f} | {peak / 1e6:.0f} MB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    speed(rng)
    intervals(rng, arguments.runs)
    soft(rng, arguments.runs)
    pairs(rng, arguments.runs)


if __name__ == "__main__":
    main()
