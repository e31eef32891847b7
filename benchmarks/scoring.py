"""How fast scoring is, side by side with a per-pair loop written as the peers write it.

    python benchmarks/scoring.py [--pairs 1000000] [--largest 10000000] [--only pairs|sr2d|growth]

Prints pairs per second of every protocol's relation rule against a plain-Python loop over the
same pairs (results are compared), the time to score a full SR2D run (25,280 prompts x 4 images)
with intervals, and how time and memory grow with the number of images when a Parquet file is
scored lazily. Detections are random and seeded; every protocol sees the same ones.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.metrics import PROTOCOLS, relation_scores
from t2i_spatial.prompts import sr2d
from t2i_spatial.stages.score import complete, make_protocols, score_tables
from t2i_spatial.stages.score_stream import score_parquet
from t2i_spatial.tables import DETECTIONS, prompts_to_table

Box = list[float]


# -- the loops: one pair at a time, in the data structures of the peers' scripts -----------------


def visor_entry(a: Box, b: Box) -> dict[str, Any]:
    centroid = [[(c[0] + c[2]) / 2, (c[1] + c[3]) / 2] for c in (a, b)]
    return {"classes": ["cat", "dog"], "centroid": centroid}


def loop_visor(relation: str, a: Box, b: Box) -> float:
    entry = visor_entry(a, b)
    first = [i for i, name in enumerate(entry["classes"]) if name == "cat"]
    second = [i for i, name in enumerate(entry["classes"]) if name == "dog"]
    for i in first:
        for j in second:
            (x1, y1), (x2, y2) = entry["centroid"][i], entry["centroid"][j]
            if (
                (relation == "left of" and x1 < x2)
                or (relation == "right of" and x1 > x2)
                or (relation == "above" and y1 < y2)
                or (relation == "below" and y1 > y2)
            ):
                return 1.0
    return 0.0


def loop_geneval(relation: str, a: Box, b: Box) -> float:
    first, second = (np.array(c).reshape(2, 2) for c in (a, b))
    offset = first.mean(axis=0) - second.mean(axis=0)
    sides = np.abs(np.diff(first, axis=0))[0] + np.abs(np.diff(second, axis=0))[0]
    left = np.maximum(np.abs(offset) - 0.1 * sides, 0) * np.sign(offset)
    if np.all(np.abs(left) < 1e-3):
        return 0.0
    dx, dy = left / np.linalg.norm(offset)
    holding = set()
    for name, value in (("left of", -dx), ("right of", dx), ("above", -dy), ("below", dy)):
        if value > 0.5:
            holding.add(name)
    return float(relation in holding)


def named(box: Box) -> dict[str, float]:
    return dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True))


def loop_t2i_compbench_2d(relation: str, a: Box, b: Box) -> float:
    first, second = named(a), named(b)
    centre = [
        ((c["x_min"] + c["x_max"]) / 2, (c["y_min"] + c["y_max"]) / 2) for c in (first, second)
    ]
    dx, dy = (centre[1][k] - centre[0][k] for k in (0, 1))
    width = max(0.0, min(first["x_max"], second["x_max"]) - max(first["x_min"], second["x_min"]))
    height = max(0.0, min(first["y_max"], second["y_max"]) - max(first["y_min"], second["y_min"]))
    area = [(c["x_max"] - c["x_min"]) * (c["y_max"] - c["y_min"]) for c in (first, second)]
    overlap = width * height / (area[0] + area[1] - width * height)
    signs = {"left of": (dx, dy), "right of": (-dx, dy), "above": (dy, dx), "below": (-dy, dx)}
    along, across = signs[relation]
    if along > 0 and along > abs(across):
        return 1.0 if overlap < 0.1 else 0.1 / overlap
    return 0.0


def loop_spatial(relation: str, a: Box, b: Box) -> float:
    """The rule of `spatial`, with the overlap of the two intervals worked out case by case."""
    if relation == "right of":
        a, b = b, a

    def before(u: float) -> float:
        return min(1.0, max(0.0, (b[2] - u) / (b[2] - b[0])))

    knots = sorted({a[0], a[2], *(x for x in (b[0], b[2]) if a[0] < x < a[2])})
    area = sum((before(u) + before(v)) / 2 * (v - u) for u, v in itertools.pairwise(knots))
    margin = (area / (a[2] - a[0]) - 0.70) / 0.30
    return 1 / (1 + math.exp(-math.log(0.97 / 0.03) * margin))


LOOPS: dict[str, Callable[[str, Box, Box], float]] = {
    "visor": loop_visor,
    "geneval": loop_geneval,
    "t2i_compbench_2d": loop_t2i_compbench_2d,
    "spatial": loop_spatial,
}


def compare_pairs(n: int) -> None:
    rng = np.random.default_rng(0)
    low, size = rng.uniform(0, 400, (2, n, 2)), rng.uniform(5, 110, (2, n, 2))
    subject, object_ = np.concatenate([low, low + size], axis=2)
    print(f"\nleft of, {n:,} pairs             loop pairs/s    arrays pairs/s    ratio")
    for name, loop in LOOPS.items():
        some = min(n, 50_000)
        lists = subject[:some].tolist(), object_[:some].tolist()
        start = time.perf_counter()
        expected = [loop("left of", a, b) for a, b in zip(*lists, strict=True)]
        slow = some / (time.perf_counter() - start)
        fast = n / best(lambda name=name: relation_scores(name, "left of", subject, object_))
        found = relation_scores(name, "left of", subject[:some], object_[:some])
        assert np.allclose(found, expected, rtol=0, atol=1e-9), name
        print(f"  {name:<28} {slow:>14,.0f} {fast:>17,.0f} {fast / slow:>7.0f}x")


def best(work: Callable[[], Any], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


# -- whole benchmarks ---------------------------------------------------------------------------


def random_detections(prompts: pl.DataFrame, first: int, samples: int, seed: int) -> pl.DataFrame:
    """About 1.5 boxes of the asked objects in every image of `samples` samples from `first` on."""
    rng = np.random.default_rng(seed)
    n = len(prompts) * samples
    count = rng.integers(0, 4, n)
    total = int(count.sum())
    owner = np.repeat(np.arange(n), count)
    names = prompts.select(
        pl.col("objects").list.get(k).struct.field("name").alias(str(k)) for k in (0, 1)
    )
    pair = names[owner // samples]
    label = pl.Series(rng.integers(0, 2, total) == 0)
    low, size = rng.uniform(0, 400, (total, 2)), rng.uniform(5, 110, (total, 2))
    boxes = pl.Series(np.concatenate([low, low + size], axis=1)).arr.to_list()
    found = (
        pl.DataFrame({"row": owner, "box": boxes, "score": rng.uniform(0.05, 1, total)})
        .with_columns(pl.Series("label", pair.select(pl.when(label).then("0").otherwise("1"))))
        .select(
            "row",
            pl.struct(
                "label",
                "score",
                "box",
                pl.lit(None, pl.String).alias("color"),
                pl.lit(None, pl.Float64).alias("depth"),
            ).alias("detections"),
        )
        .group_by("row", maintain_order=True)
        .agg("detections")
    )
    keys = prompts.select("prompt_id").join(
        pl.DataFrame({"sample": range(first, first + samples)}, schema={"sample": pl.Int32}),
        how="cross",
    )
    rows = keys.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    return (
        rows.join(found, on="row", how="left", maintain_order="left")
        .with_columns(
            pl.lit(None, pl.String).alias("image"),
            pl.lit(512, pl.Int32).alias("width"),
            pl.lit(512, pl.Int32).alias("height"),
            pl.lit("scored").alias("status"),
            pl.lit(None, pl.String).alias("reason"),
            pl.col("detections").fill_null([]),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in DETECTIONS.items())
    )


def score_sr2d() -> None:
    prompts = prompts_to_table(sr2d(relations_only=True))
    detections = random_detections(prompts, 0, 4, seed=1)
    print(f"\nfull SR2D, {len(detections):,} images      judge s   intervals s     total s")
    for name in PROTOCOLS:
        protocol = PROTOCOLS[name]()
        verdicts = protocol.judge(prompts, detections)
        if (verdicts["status"] == "not_applicable").all():
            continue
        judge = best(lambda p=protocol: p.judge(prompts, detections))
        sums = best(lambda p=protocol, v=verdicts: p.summarize(v, prompts))
        print(f"  {name:<28} {judge:>8.2f} {sums:>13.2f} {judge + sums:>11.2f}")
    whole = best(
        lambda: score_tables(prompts, complete(detections, prompts), make_protocols(["visor"])), 1
    )
    print(f"  visor with the completeness check {whole:>29.2f}")


def grow(largest: int) -> None:
    print("\nvisor from Parquet, in slices         file MB        time s   images/s   peak MB")
    with tempfile.TemporaryDirectory() as folder:
        n = 10_000
        while n <= largest:
            path = Path(folder) / "detections.parquet"
            prompts = write_file(path, n)
            # a process of its own, so that the peak is that of this size alone
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                rows, seconds, peak = pool.submit(timed_scoring, path, prompts).result()
            size = path.stat().st_size / 1e6
            print(
                f"  {rows:>12,} images {size:>22,.0f} {seconds:>13.1f} {rows / seconds:>10,.0f}"
                f" {peak:>9,.0f}"
            )
            n *= 10


def write_file(path: Path, n: int) -> int:
    """`n` images over at most 25,280 prompts, written slice by slice; returns the prompts."""
    prompts = prompts_to_table(sr2d(relations_only=True))[: max(1, min(25_280, n // 4))]
    samples = n // len(prompts)
    parts = []
    step = max(1, 400_000 // len(prompts))
    for k, first in enumerate(range(0, samples, step)):
        part = path.with_name(f"part{k:05d}.parquet")
        random_detections(prompts, first, min(step, samples - first), seed=k).write_parquet(part)
        parts.append(part)
    pl.scan_parquet(parts).sink_parquet(path)
    for part in parts:
        part.unlink()
    return len(prompts)


def timed_scoring(path: Path, n_prompts: int) -> tuple[int, float, float]:
    prompts = prompts_to_table(sr2d(relations_only=True)[:n_prompts])
    start = time.perf_counter()
    scores = score_parquet(path, prompts, make_protocols(["visor"]))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return scores.n_expected, seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--largest", type=int, default=1_000_000, help="images, at most 10,000,000")
    parser.add_argument("--only", choices=("pairs", "sr2d", "growth"), help="one part of it")
    arguments = parser.parse_args()
    if arguments.only in (None, "pairs"):
        compare_pairs(arguments.pairs)
    if arguments.only in (None, "sr2d"):
        score_sr2d()
    if arguments.only in (None, "growth"):
        grow(arguments.largest)


if __name__ == "__main__":
    main()
