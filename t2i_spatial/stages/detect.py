"""Boxes for every image of a run: `detections/<name>.parquet`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from t2i_spatial.detections import Detections
from t2i_spatial.detectors import DetectorSpec, load_detector, resolve_detector
from t2i_spatial.detectors.autobatch import automatic_batch_size
from t2i_spatial.detectors.loading import is_out_of_memory, resolve_devices
from t2i_spatial.engines import run_batches
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.run import Run
from t2i_spatial.stages.image_batches import (
    ImageReader,
    Item,
    Loaded,
    by_size,
    items_of,
    plan_shards,
)
from t2i_spatial.tables import (
    DETECTIONS,
    DETECTOR_FAILED,
    KEY,
    NOT_APPLICABLE,
    SCORED,
    table_to_prompts,
)


class DetectSettings(BaseModel):
    """Settings of the detect stage, one to one the options of the command."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str = "bundled"
    name: str = Field(default="main", pattern=r"^[A-Za-z0-9_-]+$")
    threshold: float | None = None
    revision: str | None = None
    query_template: str | None = None
    query_mode: Literal["together", "each"] = "together"
    vocabulary: tuple[str, ...] = ()
    nms: float | None = None
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    batch_size: int | Literal["auto"] = "auto"
    options: dict[str, Any] = Field(default_factory=dict)

    def resolve(self) -> DetectorSpec:
        """The detector these settings mean; reads `config.json` but no weights."""
        return resolve_detector(
            self.detector,
            threshold=self.threshold,
            revision=self.revision,
            query_template=self.query_template,
            query_mode=self.query_mode,
            nms=self.nms,
            dtype=self.dtype,
            compile=self.compile,
            options=self.options,
        )


def stage_name(name: str) -> str:
    """Key in `run.json` of the detect stage that writes `detections/<name>.parquet`."""
    return "detect" if name == "main" else f"detect-{name}"


def detect_run(
    run: Run, settings: DetectSettings | None = None, *, overwrite: bool = False
) -> None:
    """Write `detections/<name>.parquet`: one row per expected image, statuses included.

    Of each image the distinct object names of its prompt's scene are asked (or the vocabulary).
    A finished stage with the same plan is left alone; an interrupted one goes on.

    Raises:
        PlanMismatchError: the run was detected with other settings or on other images.
        ModelLoadError: the detector cannot be loaded.
        T2ISpatialError: the detector failed on every image.
    """
    settings = settings or DetectSettings()
    if settings.batch_size != "auto" and settings.batch_size < 1:
        raise InputError(f"batch size must be at least 1, got {settings.batch_size}")
    spec = settings.resolve()
    images = run.images()
    asked = _asked_names(run, settings.vocabulary)
    stage = stage_name(settings.name)
    plan = {
        **spec.plan(),
        "vocabulary": list(settings.vocabulary),
        "input": _fingerprint(images, asked),
    }
    devices = resolve_devices(settings.device)
    record = {
        "device": devices,
        "batch_size": settings.batch_size,
        "compile": spec.compile,
        **environment(),
    }
    run.begin(stage, plan, record=record, overwrite=overwrite)
    if run.is_finished(stage) and run.has(f"detections/{settings.name}.parquet"):
        note(f"{stage}: already done")
        return
    items = items_of(run, images, lambda row: asked[row["prompt_id"]] or None)
    run_batches(
        run,
        stage,
        plan_shards(items),
        DetectWorkers(spec, settings.batch_size),
        devices=devices,
    )
    table = _join(images, run.read_shards(stage, DETECTIONS))
    counts = dict(table["status"].value_counts().iter_rows())
    if counts.get(DETECTOR_FAILED) and not counts.get(SCORED):
        reason = table.filter(pl.col("status") == DETECTOR_FAILED)["reason"][0]
        run.discard(stage)
        raise T2ISpatialError(f"the detector failed on every image; first reason: {reason}")
    run.write_detections(table, settings.name)
    boxes = int(table["detections"].list.len().sum() or 0)
    run.finish(stage, expected=len(table), boxes=boxes, statuses=counts)


def _asked_names(run: Run, vocabulary: Sequence[str]) -> dict[str, tuple[str, ...]]:
    if vocabulary:
        names = tuple(dict.fromkeys(vocabulary))
        if not all(name.strip() for name in names):
            raise InputError("the vocabulary has an empty name")
        return dict.fromkeys(run.prompts()["prompt_id"], names)
    return {
        prompt.id: prompt.scene.names if prompt.scene else ()
        for prompt in table_to_prompts(run.prompts())
    }


def _fingerprint(images: pl.DataFrame, asked: dict[str, tuple[str, ...]]) -> str:
    """Of which images and names: another set of either makes another plan."""
    digest = hashlib.sha256()
    for row in images.drop("reason").iter_rows():
        digest.update(json.dumps([*row, *asked.get(row[0], ())]).encode())
    return digest.hexdigest()[:16]


def _join(images: pl.DataFrame, done: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order of the images; those that were not tried keep or get their status."""
    tried = done.select(*KEY, *(pl.col(c).alias(f"{c}_") for c in DETECTIONS if c not in KEY))
    joined = images.drop("seed").join(tried, on=KEY, how="left", maintain_order="left")
    seen = pl.col("status_").is_not_null()
    unasked = pl.col("status") == SCORED
    return joined.select(
        *KEY,
        "image",
        pl.when(seen).then("width_").otherwise("width").alias("width"),
        pl.when(seen).then("height_").otherwise("height").alias("height"),
        pl.when(seen)
        .then("status_")
        .when(unasked)
        .then(pl.lit(NOT_APPLICABLE))
        .otherwise("status")
        .alias("status"),
        pl.when(seen)
        .then("reason_")
        .when(unasked)
        .then(pl.lit("the prompt has no scene that names objects to look for"))
        .otherwise("reason")
        .alias("reason"),
        pl.col("detections_").alias("detections"),
    )


@dataclass(frozen=True)
class DetectWorkers:
    """Makes the worker of one device; picklable."""

    spec: DetectorSpec
    batch_size: int | Literal["auto"]

    def __call__(self, device: str) -> DetectWorker:
        """Load the detector on `device`."""
        return DetectWorker(self.spec, device, self.batch_size)


class DetectWorker:
    """One loaded detector: shard of items in, rows of the DETECTIONS table out.

    While the device works on one batch the next is decoded and the last one is turned into rows.
    """

    def __init__(
        self, spec: DetectorSpec, device: str, batch_size: int | Literal["auto"] = "auto"
    ) -> None:
        self.detector = load_detector(spec, device=device)
        self.batch_size = batch_size
        self.reader = ImageReader(self.detector.prepare)

    def prefetch(self, batch: Sequence[Item]) -> None:
        """Start reading the images of the shard that will follow."""
        self.reader.prefetch(batch)

    def __call__(self, batch: Sequence[Item]) -> pl.DataFrame:
        """The rows of one shard; never raises for what is wrong with one image."""
        rows = []
        for entry, found in self._detect(self.reader.read(batch)):
            rows.append(_row(entry, found))
        return pl.DataFrame(rows, schema=DETECTIONS)

    def _detect(self, stream: Iterator[Loaded]) -> Iterator[tuple[Loaded, Detections | None]]:
        queued: tuple[list[Loaded], Any] | None = None
        for group in self._groups(stream):
            if group[0].status != SCORED:
                yield from ((entry, None) for entry in group)
                continue
            raw = self._try_forward(group)
            if queued is not None:
                yield from self._collect(*queued)
            queued = (group, raw)
        if queued is not None:
            yield from self._collect(*queued)

    def _groups(self, stream: Iterator[Loaded]) -> Iterator[list[Loaded]]:
        """Model batches as soon as they are full; images without a picture on their own."""
        waiting: list[Loaded] = []
        for entry in stream:
            reason = self._refusal(entry)
            if entry.status != SCORED or reason:
                status = entry.status if entry.status != SCORED else DETECTOR_FAILED
                yield [entry._replace(status=status, reason=entry.reason or reason)]
                continue
            waiting.append(entry)
            most = self._most(entry)
            if len(waiting) >= most:
                yield from by_size(waiting, most)
                waiting = []
        if waiting:
            yield from by_size(waiting, self._most(waiting[0]))

    def _most(self, example: Loaded) -> int:
        if self.batch_size == "auto":

            def work(count: int) -> None:
                self.detector.collect(self._forward([example] * count))

            size = self._try(lambda: automatic_batch_size(self.detector.device, work))
            self.batch_size = 1 if isinstance(size, _Failure) else size
        return int(self.batch_size)

    def _refusal(self, entry: Loaded) -> str | None:
        for name in entry.item.asked:
            if reason := self.detector.refuse(name):
                return f"{_short(name)}: {reason}"
        return None

    def _forward(self, group: Sequence[Loaded]) -> Any:
        return self.detector.forward(
            [entry.prepared for entry in group],
            [entry.size for entry in group],
            [entry.item.asked for entry in group],
        )

    def _collect(self, group: list[Loaded], raw: Any) -> Iterable[tuple[Loaded, Detections | None]]:
        found = raw if isinstance(raw, _Failure) else self._try(lambda: self.detector.collect(raw))
        if not isinstance(found, _Failure):
            return zip(group, found, strict=True)
        if len(group) == 1:
            return [(group[0]._replace(status=DETECTOR_FAILED, reason=found.reason), None)]
        half = len(group) // 2
        if found.out_of_memory:
            self.batch_size = min(half, int(self.batch_size))
            note(f"out of memory with {len(group)} images at a time; going on with {half}")
        parts = [group[:half], group[half:]]
        return [pair for p in parts for pair in self._collect(p, self._try_forward(p))]

    def _try_forward(self, group: list[Loaded]) -> Any:
        return self._try(lambda: self._forward(group))

    def _try(self, work: Any) -> Any:
        try:
            return work()
        except (RuntimeError, ValueError, MemoryError, T2ISpatialError) as error:
            memory = is_out_of_memory(error)
            if memory and self.detector.device.startswith("cuda"):
                import torch

                torch.cuda.empty_cache()
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return _Failure(f"out of memory: {lines[0]}" if memory else lines[0], memory)


@dataclass(frozen=True)
class _Failure:
    reason: str
    out_of_memory: bool


def _row(entry: Loaded, found: Detections | None) -> dict[str, Any]:
    return {
        "prompt_id": entry.item.prompt_id,
        "sample": entry.item.sample,
        "image": entry.item.image,
        "width": entry.size[0] or None,
        "height": entry.size[1] or None,
        "status": entry.status,
        "reason": entry.reason,
        "detections": None if found is None else found.to_records(),
    }


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:37]}...")
