"""How fast curation is and how much memory it takes, beside the same pipeline in pandas.

    python benchmarks/curation.py [--rows 100000 1000000 10000000] [--pandas-most 1000000]

Writes synthetic runs (25,280 prompts, seeded verdicts with boxes), and selects correct, confident,
clear images from them, each step in a process of its own whose peak memory is printed: the
selection as `t2i-spatial curate` makes it, from run directory to `selection.parquet` with reasons;
with a filter that compares the images of a prompt; and the same with pandas (needs pandas and
pyarrow). The kept keys of both are compared. Then near-duplicate search over random hashes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.curation.filters.near_duplicates import SIDE, near_duplicates
from t2i_spatial.curation.selection import select
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.stages.curation_sources import run_candidates
from t2i_spatial.tables import COMPONENT, IMAGES, VERDICTS, prompts_to_table

PROMPTS = 25_280
SLICE = 250_000
FILTERS = ["scored", "correct", {"filter": "score", "minimum": 0.3}, "margin"]


def keys(start: int, count: int, samples: int) -> pl.DataFrame:
    index = np.arange(start, start + count)
    return pl.DataFrame(
        {"prompt_id": (index // samples).astype(str), "sample": (index % samples).astype(np.int32)}
    )


def image_rows(key: pl.DataFrame) -> pl.DataFrame:
    return key.with_columns(
        image=pl.format("images/{}_{}.png", "prompt_id", "sample"),
        width=pl.lit(512),
        height=pl.lit(512),
        seed=pl.lit(0),
        status=pl.lit("scored"),
        reason=pl.lit(None),
    ).cast(dict(IMAGES))


def verdict_rows(key: pl.DataFrame, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    count = len(key)
    right = rng.random(count) < 0.5
    margin = rng.random(count) * np.where(right, 1, -1)
    box = pl.concat_list([pl.lit(float(v)) for v in (10, 20, 200, 300)])
    evidence = [
        pl.struct(
            role=pl.lit(role), label=pl.lit(label), score=pl.Series(rng.random(count)), box=box
        )
        for role, label in (("subject", "cat"), ("object", "dog"))
    ]
    return key.select(
        "prompt_id",
        "sample",
        protocol=pl.lit("visor"),
        tag=pl.lit("left of"),
        value=pl.Series(right.astype(float)),
        correct=pl.Series(right),
        status=pl.lit("scored"),
        margin=pl.Series(margin),
        reason=pl.when(pl.Series(right))
        .then(pl.lit("cat is left of dog by 120.0 px"))
        .otherwise(pl.lit("cat is not left of dog: 80.0 px the other way")),
        evidence=pl.concat_list(*evidence),
        components=pl.lit(None, dtype=pl.List(COMPONENT)),
    ).cast(dict(VERDICTS))


def make_run(folder: Path, rows: int) -> None:
    samples = -(-rows // PROMPTS)
    scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "left of", 1),))
    run = Run.create(folder)
    run.write_prompts(
        prompts_to_table(
            [Prompt(str(i), "a cat to the left of a dog", None, scene) for i in range(PROMPTS)]
        )
    )
    parts = folder / "parts"
    parts.mkdir()
    for start in range(0, rows, SLICE):
        key = keys(start, min(SLICE, rows - start), samples)
        image_rows(key).write_parquet(parts / f"images-{start:09}.parquet")
        verdict_rows(key, start).write_parquet(parts / f"verdicts-{start:09}.parquet")
    (folder / "verdicts").mkdir()
    for name, target in (("images", "images.parquet"), ("verdicts", "verdicts/visor.parquet")):
        pl.scan_parquet(parts / f"{name}-*.parquet").sink_parquet(folder / target)
    for part in parts.iterdir():
        part.unlink()


def ours(folder: Path, filters: list[Any], slices: bool = True) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        candidates = run_candidates(
            Run.open(folder), "visor", scratch=Path(scratch) if slices else None
        )
        select(candidates, filters, folder / "selection.parquet")


def with_best_of(folder: Path) -> None:
    ours(folder, [*FILTERS, {"filter": "best_of", "n": 4}])


def plain(folder: Path) -> None:
    ours(folder, FILTERS)


def with_pandas(folder: Path) -> None:
    import pandas as pd

    images = pd.read_parquet(folder / "images.parquet")
    verdicts = pd.read_parquet(folder / "verdicts/visor.parquet").rename(
        columns={"status": "verdict_status", "reason": "verdict"}
    )
    prompts = pd.read_parquet(folder / "prompts.parquet", columns=["prompt_id", "text"])
    frame = images.merge(prompts, on="prompt_id", how="left")
    frame = frame.merge(verdicts, on=["prompt_id", "sample"], how="left")
    frame["score"] = [min(box["score"] for box in boxes) for boxes in frame["evidence"]]
    refused = pd.Series(None, index=frame.index, dtype=object)
    reason = pd.Series(None, index=frame.index, dtype=object)
    score = "lowest detector score " + frame["score"].round(3).astype(str) + " < 0.3"
    margin = "margin " + frame["margin"].round(3).astype(str) + " < 0.05"
    for name, keep, said in (
        ("scored", (frame["status"] == "scored") & (frame["verdict_status"] == "scored"), margin),
        ("correct", frame["correct"], frame["verdict"]),
        ("score", frame["score"] >= 0.3, score),
        ("margin", frame["margin"] >= 0.05, margin),
    ):
        out = refused.isna() & ~keep.astype(bool)
        refused[out] = name
        reason[out] = said[out]
    kept = refused.isna()
    selection = pd.DataFrame(
        {
            "prompt_id": frame["prompt_id"],
            "sample": frame["sample"],
            "image": frame["image"],
            "kept": kept,
            "filter": refused,
            "reason": reason,
            "caption": frame["text"].where(kept),
            "weight": 1.0,
        }
    )
    selection.to_parquet(folder / "pandas.parquet", compression="zstd")


def measured(
    work: Callable[..., None], *args: Any, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Seconds and peak MB of `work` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_child, args=(queue, work, args, clock))
    process.start()
    seconds, peak = queue.get()
    process.join()
    return seconds, peak


def _child(queue: Any, work: Callable[..., None], args: Any, clock: Callable[[], float]) -> None:
    start = clock()
    work(*args)
    seconds = clock() - start
    queue.put((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def same_selection(folder: Path) -> bool:
    columns = ["prompt_id", "sample", "kept", "filter"]
    first = pl.scan_parquet(folder / "selection.parquet").select(columns)
    second = pl.scan_parquet(folder / "pandas.parquet").select(columns)
    return first.collect().equals(second.collect())


def search(count: int) -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    copies, of = rng.integers(0, count, (2, count // 20))
    hashes[copies] = hashes[of] ^ (np.uint64(1) << rng.integers(0, 64, len(of)).astype(np.uint64))
    looks = np.broadcast_to(np.zeros((SIDE, SIDE, 3), np.uint8), (count, SIDE, SIDE, 3))
    near_duplicates(hashes, looks, memory=500_000_000)


def duplicates(counts: list[int]) -> Iterator[str]:
    before: tuple[int, float] | None = None
    for count in counts:
        # one thread does the work, so its own seconds tell more on a machine that others use
        seconds, peak = measured(search, count, clock=time.process_time)
        grown = ""
        if before is not None:
            exponent = np.log(seconds / before[1]) / np.log(count / before[0])
            grown = f"  exponent {exponent:.2f}"
        yield f"{count:>12,} images {seconds:9.2f} s {peak:7,.0f} MB{grown}"
        before = count, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--pandas-most", type=int, default=1_000_000)
    parser.add_argument(
        "--duplicates", type=int, nargs="*", default=[100_000, 1_000_000, 10_000_000]
    )
    options = parser.parse_args()
    print(f"{'rows':>12}  {'pipeline':<28}{'seconds':>9}{'rows/s':>12}{'peak MB':>9}")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            measured(make_run, folder, rows)
            works = {"best of 4 too": with_best_of, "correct, confident, clear": plain}
            if rows <= options.pandas_most:
                works["the same in pandas"] = with_pandas
            for name, work in works.items():
                seconds, peak = measured(work, folder)
                print(f"{rows:>12,}  {name:<28}{seconds:>9.2f}{rows / seconds:>12,.0f}{peak:>9.0f}")
            if rows <= options.pandas_most:
                print(f"{'':>12}  same selection: {same_selection(folder)}")
    print("\nnear-duplicates within 4 bits, one in twenty a copy, 500 MB; seconds of one core")
    for line in duplicates(options.duplicates):
        print(line)


if __name__ == "__main__":
    main()
