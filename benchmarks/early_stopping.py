"""Early stopping on simulated SR2D runs: is it valid, and how many images does it save?

    python benchmarks/early_stopping.py [--runs 200] [--coverage-runs 2000] [--seed 0]

A simulated benchmark has 25,280 prompts of 4 images. A prompt's difficulty is drawn from a beta
distribution whose mean is the rate and whose spread gives images of one prompt a correlation of
0.3. Every run judges the same benchmark in another random order.

Coverage counts the runs whose confidence sequence held the benchmark's number at *every* prompt.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from t2i_spatial.statistics.sequential import (
    DecisionRule,
    ever_excluded,
    stop_at_decision,
    stop_at_precision,
)

PROMPTS = 25_280
SAMPLES = 4
ICC = 0.3
CELLS = 1_500_000


def difficulties(rng: np.random.Generator, size: int, rate: float) -> np.ndarray:
    scale = 1 / ICC - 1
    return rng.beta(rate * scale, (1 - rate) * scale, size)


def means(rng: np.random.Generator, difficulty: np.ndarray) -> np.ndarray:
    return rng.binomial(SAMPLES, difficulty) / SAMPLES


def excluded(
    rng: np.random.Generator,
    above: np.ndarray,
    below: np.ndarray,
    runs: int,
    targets: tuple[float, ...],
) -> float:
    size, wrong, done = len(above), 0, 0
    truth = above.sum() / below.sum()
    while done < runs:
        part = min(max(1, CELLS // size), runs - done)
        order = np.argsort(rng.random((part, size)), axis=1)
        missed = ever_excluded(
            above[order], below[order], np.full(part, truth), size, targets=targets
        )
        wrong += int(missed.sum())
        done += part
    return wrong / runs


def coverage(rng: np.random.Generator, runs: int) -> None:
    print("\n## Coverage at all times (95.0 is promised)\n")
    print("| prompts | rate | runs | mean, ± 2 points | ratio, ± 2 points | difference, any size |")
    print("|---|---|---|---|---|---|")
    inside = total = 0
    for size in (60, 240, 1000, 5000, PROMPTS):
        each = runs if size > 1000 else 10 * runs
        for rate in (0.05, 0.3, 0.63):
            difficulty = difficulties(rng, size, rate)
            mean = means(rng, difficulty)
            below = rng.binomial(SAMPLES, 0.5, size) / SAMPLES
            above = rng.binomial((SAMPLES * below).astype(int), difficulty) / SAMPLES
            change = (means(rng, difficulty) - means(rng, difficulty) + 1) / 2
            ones = np.ones(size)
            halves = tuple(t / 2 for t in DecisionRule(0.02).targets)
            covered = [
                1 - excluded(rng, mean, ones, each, (0.02,)),
                1 - excluded(rng, above, below, each, (0.02,)),
                1 - excluded(rng, change, ones, each, halves),
            ]
            inside += sum(round(c * each) for c in covered)
            total += 3 * each
            cells = " | ".join(f"{100 * c:.1f}" for c in covered)
            print(f"| {size:,} | {rate} | {each:,} | {cells} |", flush=True)
    print(f"\nall {total:,} runs: {100 * inside / total:.2f} %")


def precision(rng: np.random.Generator, runs: int) -> None:
    full = PROMPTS * SAMPLES
    print(f"\n## score --precision, {runs:,} runs each, full run {full:,} images\n")
    print("| rate | precision | images (median) | 90 % of runs below | saved | truth inside |")
    print("|---|---|---|---|---|---|")
    for half_width in (0.05, 0.02, 0.01):
        for rate in (0.05, 0.2, 0.4, 0.63):
            values = means(rng, difficulties(rng, PROMPTS, rate))
            needed, inside = [], 0
            for _ in range(runs):
                result = stop_at_precision(rng.permutation(values), half_width, PROMPTS)
                needed.append(SAMPLES * result.bounds.n)
                inside += result.bounds.low <= values.mean() <= result.bounds.high
            median, most = np.median(needed), np.quantile(needed, 0.9)
            print(
                f"| {rate} | ± {100 * half_width:.0f} points | {median:,.0f} | {most:,.0f} | "
                f"{100 * (1 - median / full):.1f} % | {100 * inside / runs:.1f} % |",
                flush=True,
            )


def decisions(rng: np.random.Generator, runs: int) -> None:
    full = 2 * PROMPTS * SAMPLES
    print(
        f"\n## compare --decide, margin 2 points, {runs:,} runs each, both full {full:,} images\n"
    )
    print("| rate of A | B - A | images (median) | saved | right side | similar | wrong |")
    print("|---|---|---|---|---|---|---|")
    for rate in (0.2, 0.5):
        for gain in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1):
            difficulty = difficulties(rng, PROMPTS, rate)
            better = difficulty + gain * (1 - difficulty) / (1 - rate)
            change = means(rng, better) - means(rng, difficulty)
            truth = float(change.mean())
            needed, words = [], []
            for _ in range(runs):
                result = stop_at_decision(rng.permutation(change), PROMPTS)
                needed.append(2 * SAMPLES * result.bounds.n)
                words.append(result.verdict)
            side = "b_better" if truth > 0 else "a_better"
            wrong = {"b_better": "a_better", "a_better": "b_better"}[side]
            similar = words.count("similar")
            mistakes = words.count(wrong) + (similar if abs(truth) > 0.02 else 0)
            median = np.median(needed)
            print(
                f"| {rate} | {100 * truth:+.2f} points | {median:,.0f} | "
                f"{100 * (1 - median / full):.1f} % | {100 * words.count(side) / runs:.1f} % | "
                f"{100 * similar / runs:.1f} % | {100 * mistakes / runs:.1f} % |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--coverage-runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    rng = np.random.default_rng(arguments.seed)
    coverage(rng, arguments.coverage_runs)
    precision(rng, arguments.runs)
    decisions(rng, arguments.runs)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
