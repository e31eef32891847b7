"""What depth and colour have in common: one value for every box, added to a detections table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl

from t2i_spatial.detectors.boxes import BoxesOf
from t2i_spatial.engines import Engine, Local, run_batches
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.files import read_table
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.run import Run, detect_stage, writes_run
from t2i_spatial.stages import contents
from t2i_spatial.stages.batch_worker import BatchWorkers, Failure
from t2i_spatial.stages.image_batches import Item, Loaded, plan_shards
from t2i_spatial.tables import DETECTOR_FAILED, IMAGE_MISSING, IMAGE_UNREADABLE, KEY, SCORED

ROW: dict[str, pl.DataType | type[pl.DataType]] = {
    "prompt_id": pl.String,
    "sample": pl.Int32,
    "status": pl.String,
    "reason": pl.String,
}

Column = Literal["depth", "color"]


class BoxModel(Protocol):
    """A loaded model that says one thing about every box."""

    device: str

    def prepare(self, image: Any) -> Any:
        """The RGB image as the model wants it; called from worker threads."""
        ...

    def measure(self, prepared: Sequence[Any], boxes: Sequence[BoxesOf]) -> Sequence[Any]:
        """One value per box of n images of one size; for an image without, why (a string)."""
        ...


@writes_run
def add_box_values(
    run: Run,
    stage: str,
    column: Column,
    make: Callable[[str], BoxModel],
    plan: dict[str, Any],
    *,
    name: str = "main",
    device: str = "auto",
    batch_size: int | Literal["auto"] = "auto",
    overwrite: bool = False,
    engine: Engine | None = None,
) -> None:
    """Fill `column` of every box in `detections/<name>.parquet`.

    Boxes of an image that can no longer be read, or of which the model can say nothing, keep
    null, and are counted.

    Raises:
        PlanMismatchError: the stage was made with another model or for other boxes.
    """
    table = run.detections(name)
    contents.require_same(run, detect_stage(name), run.table_path(f"detections/{name}.parquet"))
    plan = {**plan, "input": _fingerprint(table)}
    engine = engine or Local()
    devices = engine.devices(device)
    run.begin(stage, plan, record={"device": devices, **environment()}, overwrite=overwrite)
    if run.is_finished(stage):
        note(f"{stage}: already done")
        return
    workers = BatchWorkers(_Lookers(make), _schema(column), batch_size)
    shards = plan_shards(_items(run, table, name))
    run_batches(run, stage, shards, workers, engine=engine, devices=devices)
    complete(run, stage, column, name)


def _schema(column: Column) -> pl.Schema:
    return pl.Schema({**ROW, "v": pl.List(pl.Float64 if column == "depth" else pl.String)})


def complete(run: Run, stage: str, column: Column, name: str) -> None:
    """Fill the column from the batches, once all of them are done."""
    done = run.shards(stage).read_all(_schema(column))
    _check_failures(run, stage, done)
    run.write_detections(_with_column(run.detections(name), done, column), name)
    lost = done["status"].is_in([IMAGE_MISSING, IMAGE_UNREADABLE])
    run.finish(
        stage,
        boxes=int(done["v"].list.len().sum() or 0),
        unreadable=int(lost.sum()),
        failed=int((done["status"] == DETECTOR_FAILED).sum()),
    )


def _check_failures(run: Run, stage: str, done: pl.DataFrame) -> None:
    failed = done.filter(pl.col("status") == DETECTOR_FAILED)
    if not len(failed):
        return
    reason = failed["reason"][0]
    if SCORED not in done["status"]:
        run.discard(stage)
        raise T2ISpatialError(f"{stage} failed on every image; first reason: {reason}")
    note(f"{stage}: {len(failed):,} images could not be judged, first reason: {reason}")


def _items(run: Run, table: pl.DataFrame, name: str) -> list[Item]:
    masks: dict[tuple[str, int], Any] = {}
    path = run.path / "masks" / f"{name}.parquet"
    if path.exists():
        masks = {(row[0], row[1]): row[2] for row in read_table(path).iter_rows()}
    items = []
    for number, row in enumerate(table.iter_rows(named=True)):
        if row["status"] != SCORED or not row["detections"] or row["image"] is None:
            continue
        own = masks.get((row["prompt_id"], row["sample"]))
        boxes = BoxesOf(
            tuple(d["label"] for d in row["detections"]),
            np.array([d["box"] for d in row["detections"]], dtype=np.float64),
            row["width"],
            row["height"],
            None if own is None else tuple(tuple(mask) for mask in own),
        )
        place = (row["image"], str(run.image_path(row["image"])), row["width"], row["height"])
        items.append(Item(row["prompt_id"], row["sample"], *place, boxes, number))
    return items


def _fingerprint(table: pl.DataFrame) -> str:
    digest = hashlib.sha256()
    for row in table.select(*KEY, "image", "detections").iter_rows():
        boxes = [(d["label"], d["box"]) for d in row[3] or ()]
        digest.update(json.dumps([*row[:3], boxes]).encode())
    return digest.hexdigest()[:16]


def _with_column(table: pl.DataFrame, done: pl.DataFrame, column: str) -> pl.DataFrame:
    values = {(row[0], row[1]): row[2] for row in done.select(*KEY, "v").iter_rows()}
    detections = [
        None
        if row["detections"] is None
        else [
            {**box, column: new}
            for box, new in zip(
                row["detections"],
                values.get((row["prompt_id"], row["sample"])) or [None] * len(row["detections"]),
                strict=True,
            )
        ]
        for row in table.select(*KEY, "detections").iter_rows(named=True)
    ]
    kind = table.schema["detections"]
    return table.with_columns(pl.Series("detections", detections, dtype=kind))


def _row(entry: Loaded, answer: list[Any] | None) -> dict[str, Any]:
    return {
        "prompt_id": entry.item.prompt_id,
        "sample": entry.item.sample,
        "status": entry.status,
        "reason": entry.reason,
        "v": answer,
    }


@dataclass(frozen=True)
class _Lookers:
    make: Callable[[str], BoxModel]
    row = staticmethod(_row)

    def __call__(self, device: str) -> _Looker:
        return _Looker(self.make(device))


class _Looker:
    """A model as `batch_worker` wants it; `item.asked` are the boxes of an image."""

    one_size = True
    row = staticmethod(_row)

    def __init__(self, model: BoxModel) -> None:
        self.model = model
        self.device = model.device
        self.prepare = model.prepare

    def refuse(self, entry: Loaded) -> str | None:
        if entry.size != (entry.item.width, entry.item.height):
            raise InputError(
                f"{entry.item.image} is {entry.size[0]}x{entry.size[1]} now but its boxes are "
                f"of a {entry.item.width}x{entry.item.height} image; detect again"
            )
        return None

    def forward(self, group: Sequence[Loaded]) -> Sequence[Any]:
        return self.model.measure(
            [entry.prepared for entry in group], [entry.item.asked for entry in group]
        )

    def collect(self, raw: Sequence[Any]) -> Sequence[Any]:
        return [Failure(values) if isinstance(values, str) else values for values in raw]
