"""Runs that are large beside small bounds: tables in parts, and a spy on what is read at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from t2i_spatial import parts
from t2i_spatial.run import Run
from t2i_spatial.stages import score_stream
from t2i_spatial.tables import DETECTIONS, IMAGES, prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

PROMPTS, SAMPLES = 60, 4
RELATIONS = ("left of", "above", "right of", "below")


def large_run(
    folder: Path, *, seed: int = 0, samples: int = SAMPLES, shuffled: bool = False
) -> Run:
    """A detected run: boxes of the asked objects at random places, some images without a file.

    Args:
        shuffled: the detections have another order than the images.
    """
    rng = np.random.default_rng(seed)
    prompts = [relation_prompt("cat", RELATIONS[k % 4], "dog", f"p{k}") for k in range(PROMPTS)]
    found, statuses = {}, {}
    for prompt in prompts:
        for sample in range(samples):
            if rng.random() < 0.05:
                statuses[prompt.id, sample] = "image_missing"
                continue
            items = []
            for name in rng.choice(["cat", "dog"], rng.integers(0, 4)):
                x, y = rng.integers(0, 400, 2)
                items.append(box(str(name), x, y, x + 60, y + 60, float(rng.uniform(0.05, 1))))
            found[prompt.id, sample] = detections(*items)
    rows = detection_rows(found, statuses)
    order = pl.DataFrame(
        [(p.id, s) for p in prompts for s in range(samples)],
        schema={"prompt_id": pl.String, "sample": pl.Int32},
        orient="row",
    )
    rows = order.join(rows, on=["prompt_id", "sample"], maintain_order="left")
    run = Run.create(folder)
    run.begin("generate", {"seed": seed, "samples": samples})
    run.begin("detect", {"detector": "none"})
    run.write_prompts(prompts_to_table(prompts))
    images = rows.drop("detections").with_columns(seed=pl.lit(seed))
    run.write_images(images.select(list(IMAGES)))
    if shuffled:
        rows = rows.sample(fraction=1.0, shuffle=True, seed=1)
    run.write_detections(rows.select(list(DETECTIONS)))
    run.finish("generate")
    run.finish("detect")
    return run


def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds so small that a run of a few hundred images is a large one."""
    monkeypatch.setattr(parts, "BATCH", 17)
    monkeypatch.setattr(parts, "PART", 50)
    monkeypatch.setattr(parts, "BUCKET", 40)
    monkeypatch.setattr(score_stream, "LARGE", 100)


class Reads:
    """The largest number of rows that came out of a file or a query at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Look at what is read, whichever way: every query of polars ends in one of these two."""
        self.most = 0
        collect, read = pl.LazyFrame.collect, pl.read_parquet
        monkeypatch.setattr(pl.LazyFrame, "collect", lambda *a, **k: self._note(collect(*a, **k)))
        monkeypatch.setattr(pl, "read_parquet", lambda *a, **k: self._note(read(*a, **k)))

    def _note(self, table: Any) -> Any:
        if isinstance(table, pl.DataFrame):
            self.most = max(self.most, len(table))
        return table
