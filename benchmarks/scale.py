"""How time and memory of every stage grow with the number of images.

    python benchmarks/scale.py [--images 100000 1000000] [--only score curate] [--folder DIR]

Builds two runs of each size (SR2D prompts with eight images each, seeded boxes of the asked
objects; tables only, no picture is drawn) and takes them through the stages, each in a process of
its own whose peak memory is printed: the verdicts of two protocols with their numbers, curation
with and without a filter that compares the images of a prompt, the rows of the training set, the
comparison of the two runs, the report, the index of `view`, images picked for labelling, the
result card, and the search for near-duplicates. An exponent of 1 is time in proportion to the
images, one of 0 is memory that does not depend on them. CPU seconds (of all threads) tell more
than the clock on a machine that others use; both are printed.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from curation import search
from scoring import random_detections

from t2i_spatial.prompts import sr2d
from t2i_spatial.run import Run
from t2i_spatial.tables import DETECTIONS, IMAGES, prompts_to_table

SAMPLES = 8
SLICE = 200_000
PROTOCOLS = ("visor", "spatial")
FILTERS = ["scored", "correct", {"filter": "score", "minimum": 0.3}, "margin"]


# -- runs ----------------------------------------------------------------------------------------


def build(folder: Path, images: int, seed: int) -> None:
    """A run with prompts, images and detections, as `generate` and `detect` leave it."""
    run = Run.create(folder)
    if run.is_finished("detect"):
        return
    run.begin("generate", {"seed": seed, "samples": SAMPLES}, overwrite=True)
    run.begin("detect", {"detector": "synthetic"}, overwrite=True)
    prompts = many_prompts(images // SAMPLES)
    run.write_prompts(prompts)
    tables = {"images.parquet": IMAGES, "detections/main.parquet": DETECTIONS}
    parts = folder / ".parts"
    for name in tables:
        (parts / name).mkdir(parents=True, exist_ok=True)
    step = SLICE // SAMPLES
    for number, start in enumerate(range(0, len(prompts), step)):
        some = prompts[start : start + step]
        found = random_detections(some, 0, SAMPLES, seed=seed * 1_000_003 + number).with_columns(
            image=pl.format("images/{}_{}.png", "prompt_id", "sample")
        )
        made = found.drop("detections").with_columns(seed=pl.int_range(pl.len(), dtype=pl.Int64))
        for name, table in zip(tables, (made.select(list(IMAGES)), found), strict=True):
            table.write_parquet(parts / name / f"{number:06}.parquet", compression="zstd")
    for name in tables:
        (folder / name).parent.mkdir(exist_ok=True)
        pl.scan_parquet(parts / name / "*.parquet").sink_parquet(folder / name, compression="zstd")
    shutil.rmtree(parts)
    run.finish("generate")
    run.finish("detect", expected=len(prompts) * SAMPLES)


def many_prompts(count: int) -> pl.DataFrame:
    """The prompts of SR2D with a relation, again and again under other ids where more are asked."""
    once = prompts_to_table(sr2d(relations_only=True))
    rounds = -(-count // len(once))
    parts = (
        once.with_columns(prompt_id=pl.format("{}-{}", "prompt_id", pl.lit(k)))
        for k in range(rounds)
    )
    return pl.concat(list(parts))[:count]


# -- stages --------------------------------------------------------------------------------------


def score(a: Path, _: Path) -> None:
    from t2i_spatial.stages.score import make_protocols, score_run

    score_run(Run.open(a), make_protocols(PROTOCOLS))


def score_other(_: Path, b: Path) -> None:
    score(b, b)


def curate(a: Path, _: Path) -> None:
    _curate(a, FILTERS)


def curate_best(a: Path, _: Path) -> None:
    _curate(a, [*FILTERS, {"filter": "best_of", "n": 2}])


def _curate(folder: Path, pipeline: list[Any]) -> None:
    from t2i_spatial.stages.curate import curate_run
    from t2i_spatial.stages.stage_settings import CurateSettings

    settings = CurateSettings(protocol="visor", pipeline=pipeline, export=None)
    curate_run(Run.open(folder), settings, announce=False)


def export_plan(a: Path, _: Path) -> None:
    from t2i_spatial.curation.rows import export_rows
    from t2i_spatial.curation.selection import Selection
    from t2i_spatial.stages.curation_sources import run_candidates

    run = Run.open(a)
    export_rows(run_candidates(run, "visor"), Selection(a / "selection.parquet", 0, ()))


def compare(a: Path, b: Path) -> None:
    from t2i_spatial.stages.compare import compare_runs

    compare_runs(a, b, PROTOCOLS)


def report(a: Path, _: Path) -> None:
    from t2i_spatial.stages.report import report_run

    report_run(Run.open(a))


def view(a: Path, _: Path) -> None:
    from starlette.testclient import TestClient

    from t2i_spatial.view.app import create_app

    client = TestClient(create_app([Run.open(a)]), base_url="http://127.0.0.1")
    for address in ("runs", "found", "page", "found?verdict=wrong&sort=closest"):
        assert client.get(f"/api/{address}").status_code == 200


def pick(a: Path, _: Path) -> None:
    from t2i_spatial.stages.auditing.pick import pick_run
    from t2i_spatial.stages.auditing.settings import PickSettings

    shutil.rmtree(a / "labels", ignore_errors=True)
    pick_run(Run.open(a), PickSettings(number=200))


def card(a: Path, _: Path) -> None:
    from t2i_spatial.stages.card import make_card

    make_card(Run.open(a), again=True)


def near_duplicates(a: Path, _: Path) -> None:
    search(json.loads((a / "run.json").read_text())["stages"]["detect"]["results"]["expected"])


STAGES: dict[str, Callable[[Path, Path], None]] = {
    "score": score,
    "score_other": score_other,
    "curate": curate,
    "curate_best": curate_best,
    "export_plan": export_plan,
    "compare": compare,
    "report": report,
    "view": view,
    "pick": pick,
    "card": card,
    "near_duplicates": near_duplicates,
}


# -- measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What one stage took; `peak` is in bytes, beyond what the imports of the process took."""

    seconds: float
    cpu: float
    peak: int


def measured(work: Callable[..., None], *args: Any) -> Cost:
    """`work(*args)` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, work, args))
    process.start()
    theirs.close()
    try:
        cost: Cost = ours.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{work.__name__} ended with exit code {process.exitcode}") from None
    process.join()
    return cost


def _child(pipe: Any, work: Callable[..., None], args: tuple[Any, ...]) -> None:
    begun, cpu = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(*args)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    pipe.send(Cost(time.perf_counter() - begun, time.process_time() - cpu, peak))


def exponent(small: float, large: float, growth: float) -> str:
    """How a cost grew with the images: log of its ratio over log of theirs."""
    if min(small, large) <= 0:
        return "–"
    return f"{math.log(large / small) / math.log(growth):.2f}"


def bytes_per_row(folder: Path, images: int) -> Iterator[str]:
    for path in sorted(folder.rglob("*.parquet")):
        if path.is_dir() or path.parent.suffix != ".parquet":
            files = [path] if path.is_file() else list(path.glob("*.parquet"))
            size = sum(file.stat().st_size for file in files)
            name = path.relative_to(folder).as_posix()
            yield f"| `{name}` | {size / images:.1f} | {len(files)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--one", action="store_true", help="build one run, compare it with itself")
    parser.add_argument("--folder", type=Path, default=Path("build/scale"), help="kept afterwards")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
    before: dict[str, Cost] = {}
    sizes = sorted(options.images)
    print("| images | stage | seconds | CPU s | exponent | peak MB | exponent |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for place, images in enumerate(sizes):
        a, b = (options.folder / f"{images}-{name}" for name in ("aa" if options.one else "ab"))
        for seed, folder in enumerate((a, b)):
            measured(build, folder, images, seed)
        gc.collect()
        for name in options.only:
            cost = measured(STAGES[name], a, b)
            grown = ("", "")
            if name in before:
                growth = images / sizes[place - 1]
                grown = (
                    exponent(before[name].cpu, cost.cpu, growth),
                    exponent(before[name].peak, cost.peak, growth),
                )
            before[name] = cost
            print(
                f"| {images:,} | {name} | {cost.seconds:.1f} | {cost.cpu:.1f} | {grown[0]} | "
                f"{cost.peak / 1e6:,.0f} | {grown[1]} |",
                flush=True,
            )
        print("\n| table | bytes a row | files |\n|---|---|---|")
        print("\n".join(bytes_per_row(a, images)), flush=True)


if __name__ == "__main__":
    main()
