"""CLIP score of every image with its prompt: `clip_score.parquet`, a column for curation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from t2i_spatial.detectors.clip_model import ClipSpec
from t2i_spatial.detectors.clip_score import ClipScore
from t2i_spatial.devices import CPU_BATCH, LARGEST, resolve_devices
from t2i_spatial.engines import run_batches
from t2i_spatial.files import write_table
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages.image_batches import ImageReader, Item, items_of, plan_shards
from t2i_spatial.tables import SCORED

STAGE = "clip_score"
TABLE = "clip_score.parquet"
SCHEMA: pl.Schema = pl.Schema(
    [("prompt_id", pl.String), ("sample", pl.Int32), ("clip_score", pl.Float64)]
)
"""One row per readable image; null when it could no longer be read."""


@writes_run
def clip_score_run(
    run: Run,
    model: str = "ViT-L-14/openai",
    *,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int | Literal["auto"] = "auto",
    overwrite: bool = False,
) -> None:
    """Write `clip_score.parquet`: the cosine of image and prompt text.

    `t2i-spatial curate RUN --columns RUN/clip_score.parquet` with the filter `clip_score` uses it.

    Raises:
        ModelLoadError: the CLIP model cannot be loaded.
        PlanMismatchError: made with another model or for other images.
    """
    spec = ClipSpec.parse(model)
    texts = dict(run.prompts().select("prompt_id", "text").iter_rows())
    items = items_of(run, run.images(), lambda row: texts[row["prompt_id"]])
    digest = hashlib.sha256(repr([item[:3] + item[6:] for item in items]).encode())
    plan = {**spec.plan(), "dtype": dtype, "input": digest.hexdigest()[:16]}
    devices = resolve_devices(device)
    run.begin(STAGE, plan, record={"device": devices, **environment()}, overwrite=overwrite)
    if run.is_finished(STAGE) and run.has(TABLE):
        note(f"{STAGE}: already done")
        return
    run_batches(run, STAGE, plan_shards(items), _Workers(spec, dtype, batch_size), devices=devices)
    table = run.read_shards(STAGE, SCHEMA)
    write_table(run.path / TABLE, table)
    run.finish(STAGE, images=len(table), unreadable=table["clip_score"].null_count())


@dataclass(frozen=True)
class _Workers:
    spec: ClipSpec
    dtype: str
    batch_size: int | Literal["auto"]

    def __call__(self, device: str) -> _Worker:
        automatic = LARGEST if device.startswith("cuda") else CPU_BATCH
        size = automatic if self.batch_size == "auto" else self.batch_size
        return _Worker(ClipScore(self.spec, device, self.dtype), size)


class _Worker:
    def __init__(self, score: ClipScore, batch_size: int) -> None:
        self.score = score
        self.batch_size = batch_size
        self.reader = ImageReader(score.prepare)

    def prefetch(self, batch: Sequence[Item]) -> None:
        self.reader.prefetch(batch)

    def __call__(self, batch: Sequence[Item]) -> pl.DataFrame:
        loaded = list(self.reader.read(batch))
        readable = [entry for entry in loaded if entry.status == SCORED]
        rows: list[tuple[str, int, float | None]] = [
            (entry.item.prompt_id, entry.item.sample, None)
            for entry in loaded
            if entry.status != SCORED
        ]
        for start in range(0, len(readable), self.batch_size):
            part = readable[start : start + self.batch_size]
            scores = self.score(
                [entry.prepared for entry in part], [entry.item.asked for entry in part]
            )
            for entry, value in zip(part, scores, strict=True):
                rows.append((entry.item.prompt_id, entry.item.sample, value))
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")
