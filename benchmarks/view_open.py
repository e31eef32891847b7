"""How long `t2i-spatial view` takes to open a large run, to filter it and to show a page of it.

    python benchmarks/view_open.py --images 1000000 --folder build/view-1e6

Builds a run of that many images once (tables only: no picture is drawn) and measures the calls that
the browser makes, in this process, without a network in between.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl

from t2i_spatial.run import Run
from t2i_spatial.tables import DETECTIONS, EVIDENCE, IMAGES, PROMPTS, VERDICTS, conform

NAMES = (
    "person",
    "dog",
    "cat",
    "bicycle",
    "car",
    "bench",
    "bird",
    "horse",
    "cup",
    "chair",
    "clock",
)
RELATIONS = ("left of", "right of", "above", "below", "next to")
SAMPLES = 4


def build(folder: Path, images: int, seed: int = 0) -> Run:
    """A run with prompts, images, detections and the verdicts of one protocol."""
    draw = np.random.default_rng(seed)
    n = images // SAMPLES
    a, b = draw.integers(0, len(NAMES), (2, n))
    relation = draw.integers(0, len(RELATIONS), n)
    names, relations = np.array(NAMES), np.array(RELATIONS)
    slim = pl.DataFrame(
        {
            "prompt_id": [f"prompt-{k:07d}" for k in range(n)],
            "a": names[a],
            "b": names[b],
            "relation": relations[relation],
        }
    )
    words = pl.format("a {} {} a {}, prompt {}", "a", "relation", "b", pl.int_range(pl.len()))
    prompts = slim.select(
        "prompt_id",
        words.alias("text"),
        pl.col("relation").alias("tag"),
        pl.lit(True).alias("has_scene"),
        pl.concat_list(*(_object(name) for name in "ab")).alias("objects"),
        pl.concat_list(
            pl.struct(subject=pl.lit(0), relation="relation", object=pl.lit(1))
        ).alias("relations"),
    )  # fmt: skip
    run = Run.create(folder)
    run.write_prompts(_fill(prompts, PROMPTS))
    keys = slim.join(pl.DataFrame({"sample": range(SAMPLES)}), how="cross")
    file = pl.format("images/{}_{}.png", "prompt_id", "sample")
    size = {"width": pl.lit(512), "height": pl.lit(512), "status": pl.lit("scored")}
    run.write_images(conform(keys.select("prompt_id", "sample", file.alias("image"),
        seed=pl.int_range(pl.len()), **size), IMAGES, "images"))  # fmt: skip
    corners = [pl.Series(draw.uniform(0, 400, len(keys))) for _ in range(4)]
    boxes = [
        {"label": pl.col(name), "score": pl.lit(0.5) + corners[k] / 1000,
         "box": pl.concat_list(corners[k], corners[k + 1], corners[k] + 100, corners[k + 1] + 90)}
        for k, name in enumerate("ab")
    ]  # fmt: skip
    color, depth = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.Float64)
    found = pl.concat_list(*(pl.struct(**box, color=color, depth=depth) for box in boxes * 3))
    run.write_detections(
        conform(
            keys.select(
                "prompt_id", "sample", file.alias("image"), detections=found, **size
            ),
            DETECTIONS,
            "detections",
        )
    )  # fmt: skip
    margin = pl.Series("margin", draw.normal(0.1, 0.4, len(keys)))
    used = pl.concat_list(
        *(pl.struct(role=pl.lit(role), **box).cast(EVIDENCE) for role, box in
          zip(("subject", "object"), boxes, strict=True))
    )  # fmt: skip
    verdicts = keys.select(
        "prompt_id", "sample", pl.col("relation").alias("tag"), margin,
        protocol=pl.lit("spatial"), value=(margin > 0).cast(pl.Float64), correct=margin > 0,
        status=pl.lit("scored"), reason=pl.format("the {} is {} by {}", "a", "relation", margin),
        evidence=used,
    )  # fmt: skip
    run.write_verdicts(conform(verdicts, VERDICTS, "verdicts"), "spatial")
    return run


def _object(name: str) -> pl.Expr:
    return pl.struct(name=pl.col(name), count=pl.lit(1), color=pl.lit(None, dtype=pl.String),
        attributes=pl.lit([], dtype=pl.List(pl.String)),
        frame_position=pl.lit(None, dtype=pl.String), count_rule=pl.lit("exactly"),
        text=pl.lit(None, dtype=pl.String))  # fmt: skip


def _fill(table: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """`conform`, for structs that lack fields too."""
    relation = pl.element().struct
    table = table.with_columns(
        pl.col("relations").list.eval(
            pl.struct(
                relation.field("subject").cast(pl.Int32),
                relation.field("relation"),
                relation.field("object").cast(pl.Int32),
                pl.lit(None, dtype=pl.String).alias("phrase"),
                pl.lit(False).alias("negated"),
                pl.lit(None, dtype=pl.Int32).alias("second"),
            )
        )
    )
    return conform(table, schema, "prompts")


def measure(folder: Path) -> None:
    """Seconds of every call that a browser makes, first and second time."""
    import resource

    from starlette.testclient import TestClient

    from t2i_spatial.view.app import create_app

    client = TestClient(create_app([Run.open(folder)]), base_url="http://127.0.0.1")
    sorted_page = "/api/page?verdict=wrong&relation=left+of&sort=closest&offset=6000"
    rows = [row["row"] for row in client.get(sorted_page).json()["rows"]]
    client = TestClient(create_app([Run.open(folder)]), base_url="http://127.0.0.1")
    calls = {
        "open: runs": "/api/runs",
        "open: counts": "/api/found",
        "open: first page": "/api/page",
        "open: its boxes": "/api/evidence?rows=" + ",".join(map(str, range(60))),
        "filter, sort": "/api/found?verdict=wrong&relation=left+of&sort=closest",
        "search": "/api/found?q=dog+prompt",
        "a page in the middle": "/api/page?offset=100000",
        "its boxes": "/api/evidence?rows=" + ",".join(map(str, range(100_000, 100_060))),
        "a page of a sorted view": sorted_page,
        "its boxes, scattered": "/api/evidence?rows=" + ",".join(map(str, rows)),
        "one prompt": "/api/prompt?prompt=prompt-0012345",
        "histogram": "/api/histogram?what=margin",
    }
    for name, address in calls.items():
        spent = []
        for _ in range(2):
            begun, work = time.perf_counter(), time.process_time()
            reply = client.get(address)
            spent += [time.perf_counter() - begun, time.process_time() - work]
            assert reply.status_code == 200, reply.text
        print(f"{name:26}{spent[0]:7.3f} s (CPU {spent[1]:.3f})   again {spent[2]:.3f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{'peak memory':26}{peak:7.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    if not (options.folder / "run.json").exists():
        build(options.folder, options.images)
        print("built; measuring in a process of its own is fairer: run the same command again")
        return
    measure(options.folder)


if __name__ == "__main__":
    main()
