"""How much of the local engine's speed is left on Ray, on this machine and the same batches.

    python benchmarks/engines.py [--batches 12] [--images 16] [--rounds 2] [--threads 1]

The bundled generator makes the same planned batches with one worker of the local engine (in a
process of its own) and one of a Ray cluster that is started here, in turns. Images per second are
those between the first and the last finished batch; what comes before is the start: process,
packages, model and the first batch, for Ray once more with the cluster. On a busy machine rates
vary more than engines differ; the share of the time in which the worker was at work does not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from t2i_spatial.engines import Engine, EngineSettings, Work, make_engine
from t2i_spatial.files import read_table
from t2i_spatial.generation.generator import default_sampling
from t2i_spatial.generation.resolve import BUNDLED, resolve_model
from t2i_spatial.generation.seeds import image_seed
from t2i_spatial.shards import Shards
from t2i_spatial.stages.generate_worker import GenerateWorkers, Job, LoadGenerator

TEXTS = ("a dog left of a cat", "a car above a bench", "an apple right of a cup")


def jobs(batches: int, images: int) -> list[list[Job]]:
    made = [
        Job(str(k), 0, TEXTS[k % len(TEXTS)], image_seed(0, str(k), 0))
        for k in range(batches * images)
    ]
    return [made[k : k + images] for k in range(0, len(made), images)]


class Measured(NamedTuple):
    start: float
    rate: float
    batch: float
    at_work: float


def measure(engine: Engine, plan: list[list[Job]], folder: Path) -> Measured:
    """Seconds until the first batch is done, images per second after it, seconds per batch, and
    the share of that time in which the worker was at work: what is missing is the engine's."""
    load = LoadGenerator(resolve_model(BUNDLED), None, "fp32", ())
    workers = GenerateWorkers(load, folder, default_sampling(BUNDLED), "bundled")
    work = Work("generate", Shards(folder / "shards"), list(enumerate(plan)), workers, ("cpu",))
    begun = time.monotonic()
    ends, spent = [], []
    for done in engine.run(work):
        ends.append(time.monotonic())
        spent.append(done.seconds)
    images = sum(len(batch) for batch in plan[1:])
    rest = ends[-1] - ends[0]
    at_work = sum(spent[1:]) / rest
    return Measured(ends[0] - begun, images / rest, statistics.median(spent), at_work)


def same(first: Path, second: Path) -> bool:
    names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    return bool(names) and all(
        read_table(first / name).equals(read_table(second / name))
        if name.suffix == ".parquet"
        else (first / name).read_bytes() == (second / name).read_bytes()
        for name in names
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # of workers: Ray would say 1, torch all
    ray_settings = {"engine": "ray", "address": "local", "cpus_per_worker": 1}
    engines = {
        "local": make_engine(EngineSettings(workers=1)),
        "ray": make_engine(EngineSettings(**ray_settings, workers=1)),
    }
    begun = time.monotonic()
    engines["ray"].devices("cpu")
    print(f"the Ray cluster of this machine started in {time.monotonic() - begun:.1f} s")
    plan = jobs(args.batches, args.images)
    rates: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(args.rounds):
            order = list(engines) if number % 2 == 0 else list(reversed(engines))
            for name in order:
                folder = Path(scratch) / f"{name}-{number}"
                one = measure(engines[name], plan, folder)
                rates[name].append(one.rate)
                print(
                    f"{name:5}  first batch {one.start:5.1f} s  {one.rate:6.2f} img/s  "
                    f"{one.batch:.2f} s/batch  at work {one.at_work:.1%}",
                    flush=True,
                )
        equal = same(Path(scratch) / "local-0", Path(scratch) / "ray-0")
    ratio = statistics.median(rates["ray"]) / statistics.median(rates["local"])
    print(f"ray / local: {ratio:.2f} of the images per second; same files: {equal}")


if __name__ == "__main__":
    main()
