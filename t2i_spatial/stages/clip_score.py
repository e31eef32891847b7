"""CLIP score of every image with its prompt: `clip_score.parquet`, a column for curation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from t2i_spatial.detectors.clip_model import ClipSpec
from t2i_spatial.detectors.clip_scorer import ClipScore
from t2i_spatial.engines import Engine, Local, run_batches
from t2i_spatial.files import write_table
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages.batch_worker import BatchWorkers
from t2i_spatial.stages.image_batches import Loaded, items_of, plan_shards

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
    engine: Engine | None = None,
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
    engine = engine or Local()
    devices = engine.devices(device)
    run.begin(STAGE, plan, record={"device": devices, **environment()}, overwrite=overwrite)
    if run.is_finished(STAGE) and run.has(TABLE):
        note(f"{STAGE}: already done")
        return
    workers = BatchWorkers(_Lookers(spec, dtype), SCHEMA, batch_size)
    run_batches(run, STAGE, plan_shards(items), workers, engine=engine, devices=devices)
    complete(run)


def complete(run: Run) -> None:
    """Make the table of the batches, once all of them are done."""
    table = run.shards(STAGE).read_all(SCHEMA)
    write_table(run.path / TABLE, table)
    run.finish(STAGE, images=len(table), unreadable=table["clip_score"].null_count())


def _row(entry: Loaded, answer: float | None) -> dict[str, Any]:
    return {
        "prompt_id": entry.item.prompt_id,
        "sample": entry.item.sample,
        "clip_score": answer,
    }


@dataclass(frozen=True)
class _Lookers:
    spec: ClipSpec
    dtype: str
    row = staticmethod(_row)

    def __call__(self, device: str) -> _Looker:
        return _Looker(ClipScore(self.spec, device, self.dtype))


class _Looker:
    """CLIP as `batch_worker` wants it; `item.asked` is the text of the prompt."""

    one_size = False
    row = staticmethod(_row)

    def __init__(self, score: ClipScore) -> None:
        self.score = score
        self.device = score.device
        self.prepare = score.prepare

    def refuse(self, entry: Loaded) -> str | None:
        return None

    def forward(self, group: Sequence[Loaded]) -> list[float]:
        return self.score([entry.prepared for entry in group], [e.item.asked for e in group])

    def collect(self, raw: list[float]) -> list[float]:
        return raw
