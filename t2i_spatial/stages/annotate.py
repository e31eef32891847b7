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
from t2i_spatial.devices import automatic_batch_size, is_out_of_memory, resolve_devices
from t2i_spatial.engines import run_batches
from t2i_spatial.errors import InputError
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages.image_batches import ImageReader, Item, Loaded, by_size, plan_shards
from t2i_spatial.tables import KEY, SCORED


class Annotator(Protocol):
    """A loaded model that says one thing about every box."""

    device: str

    def prepare(self, image: Any) -> Any:
        """The RGB image as the model wants it; called from worker threads."""
        ...

    def annotate(self, prepared: Sequence[Any], boxes: Sequence[BoxesOf]) -> list[list[Any]]:
        """One value per box of n images of one size."""
        ...


@writes_run
def annotate_run(
    run: Run,
    stage: str,
    column: Literal["depth", "color"],
    make: Callable[[str], Annotator],
    plan: dict[str, Any],
    *,
    name: str = "main",
    device: str = "auto",
    batch_size: int | Literal["auto"] = "auto",
    overwrite: bool = False,
) -> None:
    """Fill `column` of every box in `detections/<name>.parquet`.

    Boxes of an image that can no longer be read keep null, and are counted.

    Raises:
        PlanMismatchError: the stage was made with another model or for other boxes.
    """
    table = run.detections(name)
    plan = {**plan, "input": _fingerprint(table)}
    devices = resolve_devices(device)
    run.begin(stage, plan, record={"device": devices, **environment()}, overwrite=overwrite)
    if run.is_finished(stage):
        note(f"{stage}: already done")
        return
    value = pl.Float64 if column == "depth" else pl.String
    schema = pl.Schema(
        [
            ("prompt_id", pl.String),
            ("sample", pl.Int32),
            ("read", pl.Boolean),
            ("v", pl.List(value)),
        ]
    )
    workers = _Workers(make, schema, batch_size)
    shards = plan_shards(_items(run, table, name))
    run_batches(run, stage, shards, workers, devices=devices)
    done = run.read_shards(stage, schema)
    run.write_detections(_with_column(table, done, column), name)
    run.finish(
        stage, boxes=int(done["v"].list.len().sum() or 0), unreadable=int((~done["read"]).sum())
    )


def _items(run: Run, table: pl.DataFrame, name: str) -> list[Item]:
    masks: dict[tuple[str, int], Any] = {}
    path = run.path / "masks" / f"{name}.parquet"
    if path.exists():
        masks = {(row[0], row[1]): row[2] for row in pl.read_parquet(path).iter_rows()}
    items = []
    for row in table.filter(pl.col("status") == SCORED).iter_rows(named=True):
        if not row["detections"] or row["image"] is None:
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
        items.append(Item(row["prompt_id"], row["sample"], *place, boxes))
    return items


def _fingerprint(table: pl.DataFrame) -> str:
    digest = hashlib.sha256()
    for row in table.select(*KEY, "image", "detections").iter_rows():
        boxes = [(d["label"], d["box"]) for d in row[3] or ()]
        digest.update(json.dumps([*row[:3], boxes]).encode())
    return digest.hexdigest()[:16]


def _with_column(table: pl.DataFrame, done: pl.DataFrame, column: str) -> pl.DataFrame:
    values = {(row[0], row[1]): row[3] for row in done.iter_rows()}
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


@dataclass(frozen=True)
class _Workers:
    make: Callable[[str], Annotator]
    schema: pl.Schema
    batch_size: int | Literal["auto"]

    def __call__(self, device: str) -> _Worker:
        return _Worker(self.make(device), self.schema, self.batch_size)


class _Worker:
    def __init__(
        self, annotator: Annotator, schema: pl.Schema, batch_size: int | Literal["auto"]
    ) -> None:
        self.annotator = annotator
        self.schema = schema
        self.batch_size = batch_size
        self.reader = ImageReader(annotator.prepare)

    def prefetch(self, batch: Sequence[Item]) -> None:
        self.reader.prefetch(batch)

    def __call__(self, batch: Sequence[Item]) -> pl.DataFrame:
        loaded = list(self.reader.read(batch))
        rows: list[tuple[str, int, bool, list[Any] | None]] = []
        for entry in loaded:
            if entry.status == SCORED and entry.size != (entry.item.width, entry.item.height):
                raise InputError(
                    f"{entry.item.image} is {entry.size[0]}x{entry.size[1]} now but its boxes are "
                    f"of a {entry.item.width}x{entry.item.height} image; detect again"
                )
            if entry.status != SCORED:
                rows.append((entry.item.prompt_id, entry.item.sample, False, None))
        readable = [entry for entry in loaded if entry.status == SCORED]
        if readable and self.batch_size == "auto":
            first = readable[0]
            self.batch_size = automatic_batch_size(
                self.annotator.device, lambda count: self._annotate([first] * count)
            )
        for group in by_size(readable, int(self.batch_size) if readable else 1):
            for entry, values in zip(group, self._annotate(group), strict=True):
                rows.append((entry.item.prompt_id, entry.item.sample, True, values))
        return pl.DataFrame(rows, schema=self.schema, orient="row")

    def _annotate(self, group: list[Loaded]) -> list[list[Any]]:
        try:
            return self.annotator.annotate(
                [entry.prepared for entry in group], [entry.item.asked for entry in group]
            )
        except (RuntimeError, MemoryError) as error:
            if len(group) == 1 or not is_out_of_memory(error):
                raise
        half = len(group) // 2
        self.batch_size = half
        note(f"out of memory with {len(group)} images at a time; going on with {half}")
        return [*self._annotate(group[:half]), *self._annotate(group[half:])]
