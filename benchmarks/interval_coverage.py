"""How often intervals and p-values keep their promise, on simulated runs; and how fast they are.

    python benchmarks/interval_coverage.py [--runs 1000] [--seed 0] [--only nulls]

Prompts have four images whose correlation within a prompt is drawn from a beta distribution of
difficulties. `given` is a ratio with a random denominator, as VISOR_cond.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from t2i_spatial.statistics.intervals import (
    Interval,
    cluster_share_interval,
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


def plain_p(columns: np.ndarray, resamples: int, rng: np.random.Generator) -> float:
    """Permutation of the difference itself, not over its standard error; columns per prompt."""
    swaps = rng.integers(0, 2, (resamples, len(columns)))
    swapped = columns[:, [2, 3, 0, 1]]
    totals = columns.sum(axis=0) + swaps @ (swapped - columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.abs(totals[:, 2] / totals[:, 3] - totals[:, 0] / totals[:, 1])
        na, da, nb, db = columns.sum(axis=0)
        observed = abs(nb / db - na / da)
    extreme = int((np.isnan(found) | (found >= observed - 1e-12)).sum())
    return (1 + extreme) / (1 + resamples)


NULLS = {
    "means, alike": ((1.0, 1.0), (0.3, 0.3)),
    "means, B all or nothing": ((1.0, 1.0), (0.0, 0.95)),
    "ratios, alike": ((0.5, 0.5), (0.3, 0.3)),
    "ratios, objects found 30 and 70 %": ((0.3, 0.7), (0.3, 0.3)),
    "ratios, 15 and 60 %": ((0.15, 0.6), (0.3, 0.3)),
    "ratios, 15 and 60 %, B all or nothing": ((0.15, 0.6), (0.0, 0.95)),
}
"""Name -> share of images that count, and correlation within prompts, of A and B."""


def nulls(rng: np.random.Generator, runs: int) -> None:
    print(f"\n## p without a difference, {runs:,} runs of each of 15 settings per row\n")
    print("10, 30, 100 prompts; rates 0.02, 0.1, 0.5, 0.9, 0.98; mean and highest in per cent\n")
    print(
        "| runs A and B | p < 0.05 | p < 0.01 | difference permuted: p < 0.05 | coverage, lowest |"
    )
    print("|---|---|---|---|---|")
    for name, (counted, icc) in NULLS.items():
        five, one, plain, covered = [], [], [], []
        for prompts, rate in itertools.product((10, 30, 100), (0.02, 0.1, 0.5, 0.9, 0.98)):
            ids = np.repeat(np.arange(prompts), SAMPLES)
            ps, others, inside = [], [], []
            for run in range(runs):
                sides = []
                for share, correlation in zip(counted, icc, strict=True):
                    below = outcomes(rng, prompts, share, 0.3 if share < 1 else 0)
                    sides += [(outcomes(rng, prompts, rate, correlation) & below), below]
                found = paired_difference(
                    *[side.ravel() for side in sides], ids, resamples=400, seed=run
                )
                if found.p is None or found.low is None or found.high is None:
                    continue
                ps.append(found.p)
                inside.append(found.low <= 0 <= found.high)
                others.append(plain_p(np.stack([s.sum(axis=1) for s in sides], axis=1), 400, rng))
            five.append(np.mean(np.array(ps) < 0.05))
            one.append(np.mean(np.array(ps) < 0.01))
            plain.append(np.mean(np.array(others) < 0.05))
            covered.append(np.mean(inside))
        cells = " | ".join(
            f"{100 * np.mean(c):.1f}, {100 * max(c):.1f}" for c in (five, one, plain)
        )
        print(f"| {name} | {cells} | {100 * min(covered):.1f} |", flush=True)


def shares(rng: np.random.Generator, runs: int) -> None:
    del rng, runs  # exact: every count times its probability
    print("\n## Share of prompts, coverage of 95 % intervals, exact\n")
    print("true shares 0.0005 to 0.9995 (36 values); lowest and mean in per cent\n")
    print(
        "| prompts | t2i-spatial (Clopper-Pearson) | shape of the other intervals |\n|---|---|---|"
    )
    some = np.array([0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04])
    low = np.concatenate([some, [0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4]])
    for prompts in (10, 20, 50, 100):
        values, ids = np.tri(prompts + 1, prompts, -1), np.arange(prompts)
        spans = {
            "exact": [cluster_share_interval(v, 1, ids) for v in values],
            "wilson": [ratio_interval(v, np.ones(prompts), ids, resamples=500) for v in values],
        }
        cells = []
        for found in spans.values():
            covered = []
            for share in (*low, *(1 - low)):
                chances = [
                    math.comb(prompts, k) * share**k * (1 - share) ** (prompts - k)
                    for k in range(prompts + 1)
                ]
                inside = [(s.low or 0) <= share <= (s.high or 0) for s in found]
                covered.append(float(np.dot(chances, inside)))
            cells.append(f"{100 * min(covered):.1f}, {100 * np.mean(covered):.1f}")
        print(f"| {prompts} | {' | '.join(cells)} |", flush=True)


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
    tables = {f.__name__: f for f in (intervals, soft, pairs, nulls, shares)}
    parser.add_argument("--only", choices=["speed", *tables])
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    if arguments.only in (None, "speed"):
        speed(rng)
    for name, table in tables.items():
        if arguments.only in (None, name):
            table(rng, arguments.runs)


if __name__ == "__main__":
    main()
