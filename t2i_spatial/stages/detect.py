"""Boxes for every image of a run: `detections/<name>.parquet`."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from t2i_spatial import parts
from t2i_spatial.detectors import DetectorSpec, load_detector
from t2i_spatial.detectors.canary import CanaryResult, run_canary
from t2i_spatial.detectors.loading import weights_hash
from t2i_spatial.detectors.masks import MASKS
from t2i_spatial.detectors.precomputed import PREFIX, stored_detections, stored_file
from t2i_spatial.engines import Engine, Local, run_batches
from t2i_spatial.errors import (
    IncompleteRunError,
    InputError,
    ModelLoadError,
    T2ISpatialError,
)
from t2i_spatial.files import read_table
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.run import Run, detect_stage, writes_run
from t2i_spatial.stages import contents
from t2i_spatial.stages.batch_worker import BatchWorkers
from t2i_spatial.stages.clip_score import clip_score_run
from t2i_spatial.stages.color import color_method, color_run, color_stage
from t2i_spatial.stages.depth import depth_run, depth_stage
from t2i_spatial.stages.detect_worker import ROWS, DetectLookers
from t2i_spatial.stages.image_batches import Item, drop_other_shards, items_of, plan_shards
from t2i_spatial.stages.stage_settings import DetectSettings
from t2i_spatial.stages.suitable import BUNDLED, note_unknown
from t2i_spatial.tables import (
    DETECTIONS,
    DETECTOR_FAILED,
    IMAGE_MISSING,
    IMAGE_UNREADABLE,
    KEY,
    NOT_APPLICABLE,
    SCORED,
)


@dataclass(frozen=True)
class Detected:
    """What the detect stage found; `results` is what `run.json` records of it."""

    results: dict[str, Any]

    def as_text(self) -> str:
        """The counts for a person."""
        statuses = dict(self.results["statuses"])
        scored = statuses.pop(SCORED, 0)
        boxes, expected = self.results["boxes"], self.results["expected"]
        lines = [f"{boxes} boxes in {scored} of {expected} expected images"]
        return "\n".join([*lines, *(f"  {n} {status}" for status, n in sorted(statuses.items()))])

    def require_some(self) -> None:
        """Refuse a stage that looked at no image although some were expected.

        Raises:
            IncompleteRunError: none of the expected images was detected in.
        """
        statuses, expected = self.results["statuses"], self.results["expected"]
        unasked = statuses.get(NOT_APPLICABLE, 0)
        if expected > unasked and not statuses.get(SCORED):
            raise IncompleteRunError(
                f"none of the {expected - unasked:,} expected images was detected in; "
                "images.parquet and the table of detections say why"
            )


def count_detected(run: Run, name: str = "main") -> Detected:
    """What a finished detect stage recorded."""
    return Detected(run.manifest["stages"][detect_stage(name)]["results"])


def check_names(settings: DetectSettings) -> None:
    """Resolve the detector and the colour method, before anything is made.

    Raises:
        T2ISpatialError: an unknown name, or a file that is not there.
    """
    if settings.detector.startswith(PREFIX):
        _refuse_without_effect(settings)
        stored_file(settings.detector, settings.options)
    else:
        settings.resolve()
    if settings.color:
        color_method(settings.color)


def _refuse_without_effect(settings: DetectSettings) -> None:
    """What says how a detector looks, of boxes that are there already."""
    looking = ("revision", "query_template", "query_mode", "nms", "compile", "vocabulary")
    for name in looking:
        if getattr(settings, name) != DetectSettings.model_fields[name].default:
            raise InputError(f"{name} has no effect on {settings.detector}: nothing is detected")


@writes_run
def detect_run(
    run: Run,
    settings: DetectSettings | None = None,
    *,
    overwrite: bool = False,
    engine: Engine | None = None,
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
    stage = detect_stage(settings.name)
    if settings.detector.startswith(PREFIX):
        _take_stored(run, stage, settings, overwrite)
    else:
        _detect(run, stage, settings, overwrite, engine or Local())
    for model, add in ((settings.depth, depth_run), (settings.color, color_run)):
        if model:
            add(
                run,
                model,
                name=settings.name,
                device=settings.device,
                dtype=settings.dtype,
                batch_size=settings.batch_size,
                overwrite=overwrite,
                engine=engine,
            )
    if settings.clip_score:
        clip_score_run(
            run,
            settings.clip_score,
            device=settings.device,
            dtype=settings.dtype,
            batch_size=settings.batch_size,
            overwrite=overwrite,
            engine=engine,
        )


def _detect(
    run: Run, stage: str, settings: DetectSettings, overwrite: bool, engine: Engine
) -> None:
    spec = settings.resolve()
    images = run.images()
    asked = contents.asked_names(run.prompts(), settings.vocabulary)
    plan = {
        **spec.plan(),
        "vocabulary": list(settings.vocabulary),
        "input": contents.fingerprint([images], asked),
    }
    devices = engine.devices(settings.device)
    record = {
        "device": devices,
        "batch_size": settings.batch_size,
        "compile": spec.compile,
        **environment(),
    }
    again = _begin_looking(run, stage, settings.name, images, plan, record, overwrite)
    if again is None:
        return
    if settings.detector == BUNDLED:
        note_unknown(asked.values())
        canary = engine.once(functools.partial(_canary, spec), devices[0])
        run.note(stage, canary=canary.to_dict())
        if not canary.passed:
            raise ModelLoadError(
                "the bundled detector does not find known drawings on this machine; "
                "`t2i-spatial doctor` shows which"
            )
    shards = plan_shards(items_of(run, images, lambda row: asked[row["prompt_id"]] or None))
    if again:
        _keep_shards(run, stage, settings.name, shards, again)
    drop_other_shards(run, stage, shards, again)
    workers = BatchWorkers(DetectLookers(spec), ROWS, settings.batch_size)
    run_batches(run, stage, shards, workers, engine=engine, devices=devices)
    complete(run, settings.name)


def complete(run: Run, name: str) -> None:
    """Make `detections/<name>.parquet` of the batches, once all of them are done."""
    shards = run.shards(detect_stage(name))
    table = _join(run.images(), shards.read_all(DETECTIONS))
    masks = shards.read_all(MASKS).filter(pl.col("masks").is_not_null())
    _finish(run, detect_stage(name), name, table, masks)


def _canary(spec: DetectorSpec, device: str) -> CanaryResult:
    return run_canary(load_detector(spec, device=device))


def _begin_looking(
    run: Run,
    stage: str,
    name: str,
    images: pl.DataFrame,
    plan: dict[str, Any],
    record: dict[str, Any],
    overwrite: bool,
) -> set[tuple[str, int]] | None:
    """Start or resume the stage; the images to look at once more, `None` when all is done.

    Those are images that were missing or unreadable, and that are there now (or others).

    Raises:
        PlanMismatchError: another plan, or pictures that have been replaced.
    """
    known = run.plan(stage) == json.loads(json.dumps(plan))
    seen = (contents.load(run, stage) if known else None) or {}
    now = contents.look(run, images, seen)
    lost = _lost(run, stage, name) if known else set()
    others = [key for key in contents.replaced(seen, now) if key not in lost]
    done = run.is_finished(stage) and run.has(f"detections/{name}.parquet")
    if known and overwrite and (others or done):
        run.discard(stage)
        known = done = False
    elif known:
        contents.refuse_replaced(run, stage, others)
    run.begin(stage, plan, record=record, overwrite=overwrite)
    if not known:
        contents.store(run, stage, now)
        return set()
    again = {key for key in lost if now.get(key, contents.NOTHING).sha256 is not None}
    again = {key for key in again if now[key].sha256 != seen.get(key, contents.NOTHING).sha256}
    if done and not again:
        note(f"{stage}: already done")
        return None
    if done:
        note(f"{stage}: {len(again):,} images that were missing or unreadable are there now")
        run.reopen(stage, record)
    contents.store(run, stage, {**now, **{key: seen[key] for key in seen.keys() - again}})
    return again


def _lost(run: Run, stage: str, name: str) -> set[tuple[str, int]]:
    """Images of which the stage has found no readable file so far."""
    if run.is_finished(stage) and run.has(f"detections/{name}.parquet"):
        table = run.detections(name)
    else:
        run.shards(stage).drop_broken()
        table = run.shards(stage).read_all(DETECTIONS)
    lost = table.filter(pl.col("status").is_in([IMAGE_MISSING, IMAGE_UNREADABLE]))
    return set(lost.select(KEY).iter_rows())


def _keep_shards(
    run: Run, stage: str, name: str, shards: list[list[Item]], again: set[tuple[str, int]]
) -> None:
    """Make shards of what a finished stage has found in images that are not looked at again."""
    if not run.has(f"detections/{name}.parquet") or run.shards(stage).finished():
        return
    run_table = run.stored_detections(name)
    kept = {(row["prompt_id"], row["sample"]): row for row in run_table.iter_rows(named=True)}
    path = run.path / "masks" / f"{name}.parquet"
    masks = {row[:2]: row[2] for row in read_table(path).iter_rows()} if path.exists() else {}
    for number, shard in enumerate(shards):
        keys = [(item.prompt_id, item.sample) for item in shard]
        if again.isdisjoint(keys):
            rows = [{**kept[key], "masks": masks.get(key)} for key in keys]
            run.shards(stage).write(number, _unannotated(pl.DataFrame(rows, schema=ROWS)))


def _unannotated(table: pl.DataFrame) -> pl.DataFrame:
    """Without what later stages said of the boxes: they are forgotten and made again."""
    field = pl.element().struct
    bare = pl.struct(
        *(field.field(key) for key in ("label", "score", "box")),
        pl.lit(None, pl.String).alias("color"),
        pl.lit(None, pl.Float64).alias("depth"),
    )
    return table.with_columns(pl.col("detections").list.eval(bare))


def _take_stored(run: Run, stage: str, settings: DetectSettings, overwrite: bool) -> None:
    _refuse_without_effect(settings)
    file = stored_file(settings.detector, settings.options)
    images = run.images()
    table = stored_detections(file, run.prompts(), images)
    plan = {
        "detector": settings.detector,
        "weights": weights_hash(str(file.paths[0])),
        **_reading(settings.options),
        "threshold": settings.threshold,
        "input": contents.fingerprint([images], {}),
    }
    if _begin(run, stage, settings.name, plan, environment(), overwrite):
        return
    if settings.threshold is not None:
        above = pl.element().struct.field("score") > settings.threshold
        table = table.with_columns(pl.col("detections").list.filter(above))
    _finish(run, stage, settings.name, _join(images, table), pl.DataFrame(schema=MASKS))


def _reading(options: Mapping[str, Any]) -> dict[str, Any]:
    """How a file of boxes is read, with the contents of the files that say so."""
    if not options:
        return {}
    texts = {key: str(value) for key, value in sorted(options.items())}
    return {"reading": {key: [text, weights_hash(text)] for key, text in texts.items()}}


def _begin(
    run: Run,
    stage: str,
    name: str,
    plan: dict[str, Any],
    record: dict[str, Any],
    overwrite: bool,
) -> bool:
    """Start or resume the stage; whether it has already been done with this plan."""
    run.begin(stage, plan, record=record, overwrite=overwrite)
    if run.is_finished(stage) and run.has(f"detections/{name}.parquet"):
        note(f"{stage}: already done")
        return True
    return False


def _finish(run: Run, stage: str, name: str, table: pl.DataFrame, masks: pl.DataFrame) -> None:
    counts = dict(table["status"].value_counts().iter_rows())
    if counts.get(DETECTOR_FAILED) and not counts.get(SCORED):
        reason = table.filter(pl.col("status") == DETECTOR_FAILED)["reason"][0]
        run.discard(stage)
        raise T2ISpatialError(f"the detector failed on every image; first reason: {reason}")
    run.write_detections(table, name)
    parts.remove(run.path / "masks" / f"{name}.parquet")
    if masks.height:
        parts.write(run.path / "masks" / f"{name}.parquet", masks)
    for other in (depth_stage(name), color_stage(name)):
        run.discard(other)
    boxes = int(table["detections"].list.len().sum() or 0)
    run.finish(stage, expected=len(table), boxes=boxes, statuses=counts)


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
