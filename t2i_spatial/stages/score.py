"""The score stage: detections in, verdicts and a summary out. No GPU, no torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import write_json
from t2i_spatial.metrics.base import Metric, Summary
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals
from t2i_spatial.progress import note
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages import contents
from t2i_spatial.stages.protocols import make_protocols as make_protocols
from t2i_spatial.stages.score_table import format_table as format_table
from t2i_spatial.stages.scores import STAGE, STOPPING
from t2i_spatial.stages.scores import Scores as Scores
from t2i_spatial.stages.stage_settings import DetectSettings
from t2i_spatial.tables import (
    DETECTIONS,
    DETECTOR_FAILED,
    IMAGE_MISSING,
    KEY,
    NOT_APPLICABLE,
    SCORED,
    expected_images,
    prompts_to_table,
)

if TYPE_CHECKING:
    from t2i_spatial.interchange.reading import DetectionFiles


def complete(
    detections: pl.DataFrame,
    prompts: pl.DataFrame,
    *,
    samples: int | None = None,
    images: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """DETECTIONS with one row for every expected image, in the order of the prompts.

    Args:
        detections: DETECTIONS; images may be absent.
        prompts: PROMPTS, the denominator.
        samples: images expected per prompt; further ones are left out with a note. Default: as
            many as the largest sample number says.
        images: IMAGES of a run, which then say what is expected; an image that they call
            unreadable or missing keeps that status and reason.

    Raises:
        InputError: an image twice, or of no prompt of the set, or not in `images`.
    """
    if detections.select(KEY).is_duplicated().any():
        twice = detections.filter(detections.select(KEY).is_duplicated()).select(KEY).row(0)
        raise InputError(f"the detections hold the same image twice: {twice}")
    unknown = detections.join(prompts, on="prompt_id", how="anti")
    if len(unknown):
        raise InputError(
            f"{len(unknown):,} of {len(detections):,} images belong to no prompt of the set "
            f"(first: prompt id {unknown['prompt_id'][0]!r}); is this the right prompt file?"
        )
    if images is not None:
        expected = images.select(*KEY, "status", "reason")
        if samples is not None:
            wanted = _sample_numbers(images, samples)
            expected = expected.filter(pl.col("sample").is_in(list(wanted)))
    else:
        expected = expected_images(prompts, _sample_numbers(detections, samples)).with_columns(
            pl.lit(IMAGE_MISSING).alias("status"),
            pl.lit("the detections do not contain this image").alias("reason"),
        )
    beyond = len(detections.join(expected, on=KEY, how="anti"))
    if beyond and samples is None:
        raise InputError(
            f"the detections hold {beyond:,} images that the run does not have; detect again"
        )
    if beyond:
        note(f"{beyond:,} images beyond {samples} per prompt are not used")
    unseen = pl.col("seen").is_null()
    made = pl.col("status_expected") == SCORED
    return (
        expected.rename({"status": "status_expected", "reason": "reason_expected"})
        .join(
            detections.with_columns(pl.lit(True).alias("seen")),
            on=KEY,
            how="left",
            maintain_order="left",
        )
        .with_columns(
            pl.when(unseen & made)
            .then(pl.lit(DETECTOR_FAILED))
            .when(unseen)
            .then(pl.col("status_expected"))
            .otherwise(pl.col("status"))
            .alias("status"),
            pl.when(unseen & made)
            .then(pl.lit("no detector has looked at this image"))
            .when(unseen)
            .then(pl.col("reason_expected"))
            .otherwise(pl.col("reason"))
            .alias("reason"),
        )
        .select(list(DETECTIONS))
    )


def score_tables(
    prompts: pl.DataFrame,
    detections: pl.DataFrame,
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
) -> Scores:
    """Judge a complete DETECTIONS table (see `complete`) by every protocol.

    Raises:
        InputError: an image belongs to no prompt.
    """
    verdicts = {}
    summary = {}
    for protocol in protocols:
        verdicts[protocol.name] = protocol.judge(prompts, detections)
        summary[protocol.name] = protocol.summarize(verdicts[protocol.name], prompts, intervals)
        if summary[protocol.name]["images"]["expected"] == 0 and len(detections):
            reason = verdicts[protocol.name]["reason"][0]
            note(f"{protocol.name} applies to none of these prompts ({reason})")
    n_scored = int((detections["status"] == SCORED).sum())
    n_unasked = int((detections["status"] == NOT_APPLICABLE).sum())
    return Scores(verdicts, summary, len(detections) - n_unasked, n_scored)


@writes_run
def score_run(
    run: Run,
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    samples: int | None = None,
) -> Scores:
    """Score the stored detections of a run; writes `verdicts/*.parquet` and `summary.json`.

    Numbers of other protocols in `summary.json` are kept if they were made from the same
    detections, and dropped with a note otherwise. Nothing is raised for missing images; see
    `Scores.require_complete`.

    Raises:
        InputError: the run has no prompts or detections, or `complete` refuses them.
    """
    if run.has("images.parquet"):
        contents.require_same(run, "detect", run.images())
    prompts = run.prompts()
    detections = complete(
        run.detections(),
        prompts,
        samples=samples,
        images=run.images() if run.has("images.parquet") else None,
    )
    scores = score_tables(prompts, detections, protocols, intervals)
    fingerprint = detections_hash(run)
    known = run.plan(STAGE)
    plan: dict[str, Any] = {
        name: entry
        for name, entry in known.items()
        if name not in scores.summary and entry.get("detections") == fingerprint
    }
    for name in known.keys() - plan.keys() - scores.summary.keys():
        note(f"dropped the {name} scores: they were made from other detections")
        (run.path / "verdicts" / f"{name}.parquet").unlink(missing_ok=True)
    for protocol in protocols:
        plan[protocol.name] = {
            "settings": protocol.settings,
            **dataclasses.asdict(intervals),
            "detections": fingerprint,
        }
    for protocol in protocols:
        _give_stopped_bounds(run, plan[protocol.name], protocol.name, scores.summary)
    summary = _read_summary(run.path / "summary.json")
    summary = {name: part for name, part in summary.items() if name in plan} | scores.summary
    run.begin(STAGE, plan, overwrite=True)
    for name, table in scores.verdicts.items():
        run.write_verdicts(table, name)
    write_json(run.path / "summary.json", summary)
    run.finish(STAGE, n_expected=scores.n_expected, n_scored=scores.n_scored)
    return scores


@writes_run
def import_detections(
    run: Run,
    prompts: pl.DataFrame,
    detections: pl.DataFrame,
    source: str,
    *,
    samples: int | None = None,
    overwrite: bool = False,
) -> None:
    """Put prompts and detections of another origin into a run directory.

    Raises:
        PlanMismatchError: the directory holds detections of another file.
        InputError: `complete` refuses the detections.
    """
    table = complete(detections, prompts, samples=samples)
    digest = hashlib.blake2b(digest_size=16)
    for row in prompts.select("prompt_id", "text").iter_rows():
        digest.update(repr(row).encode())
    digest.update(table.hash_rows().to_numpy().tobytes())
    run.begin(
        "detect",
        {"detector": "imported", "source": source, "content": digest.hexdigest()},
        overwrite=overwrite,
    )
    run.write_prompts(prompts)
    run.write_detections(table)
    run.finish("detect", n_images=len(table))


def score_source(
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    run: Path | None = None,
    images: Path | None = None,
    detections: Path | DetectionFiles | None = None,
    prompts: str | None = None,
    output: Path | None = None,
    samples: int | None = None,
    detect: DetectSettings | None = None,
    coco_images: Path | None = None,
    overwrite: bool = False,
) -> Scores:
    """Score a run, a folder of images, or a file of detections (exactly one of them).

    Args:
        prompts: name or file; `None` with `images` takes the captions of the folder.
        output: run directory to make; detections may do without one, then nothing is written.
        detections: the file, or several and how they are to be read.
        coco_images: the images and categories of `detections` that are COCO results.
        detect: which detector looks at `images`.

    Raises:
        T2ISpatialError: what the stages raise.
    """
    if run is not None:
        return score_run(Run.open(run), protocols, intervals, samples=samples)
    from t2i_spatial.prompts import load_prompts

    if detections is not None:
        from t2i_spatial.interchange.reading import DetectionFiles
        from t2i_spatial.stages.score_stream import is_large, score_parquet

        if isinstance(detections, Path):
            detections = DetectionFiles((detections,), coco_images)
        table = prompts_to_table(load_prompts(prompts or ""))
        if len(detections.paths) == 1 and is_large(path := detections.paths[0]):
            place = None if output is None else _empty_run(output, table, path, overwrite)
            return score_parquet(path, table, protocols, intervals, output=place, samples=samples)
        found = detections.read(table)
        if output is None:
            whole = complete(found, table, samples=samples)
            return score_tables(table, whole, protocols, intervals)
        target = Run.create(output)
        import_detections(
            target, table, found, detections.name, samples=samples, overwrite=overwrite
        )
        return score_run(target, protocols, intervals)
    if images is None or output is None:
        raise InputError("scoring a folder of images needs the folder and an output directory")
    from t2i_spatial.stages.detect import detect_run
    from t2i_spatial.stages.import_images import import_images

    target = Run.create(output)
    import_images(
        target, images, load_prompts(prompts) if prompts else None, samples, overwrite=overwrite
    )
    detect_run(target, detect, overwrite=overwrite)
    return score_run(target, protocols, intervals)


def _empty_run(output: Path, prompts: pl.DataFrame, source: Path, overwrite: bool) -> Run:
    """A run directory for the verdicts of a file that is too large to be copied into it."""
    run = Run.create(output)
    stat = source.stat()
    run.begin(
        "detect",
        {"detector": "imported", "source": str(source.resolve()), "bytes": stat.st_size},
        overwrite=overwrite,
    )
    run.write_prompts(prompts)
    run.finish("detect", copied=False)
    return run


def _sample_numbers(detections: pl.DataFrame, samples: int | None) -> Sequence[int]:
    if len(detections) == 0:
        return range(samples or 1)
    first = min(int(detections["sample"].min() or 0), 1)  # type: ignore[arg-type]
    if samples is not None:
        return range(first, first + samples)
    return range(first, int(detections["sample"].max() or 0) + 1)  # type: ignore[arg-type]


def detections_hash(run: Run) -> str:
    """SHA-256 of the table of detections that a run is scored by."""
    with (run.path / "detections" / "main.parquet").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _give_stopped_bounds(
    run: Run, plan: dict[str, Any], protocol: str, summary: dict[str, Summary]
) -> None:
    """Where judging was stopped for the precision of a number, give it the interval that holds
    whenever one stops, in place of the ordinary one.
    """
    stop, results = run.plan(STOPPING), run.results(STOPPING)
    same = ("settings", "allow_missing")
    if (
        "precision" in stop
        and results.get("protocol") == protocol
        and results.get("detections") == plan["detections"]
        and all(stop.get(key) == plan[key] for key in same)
    ):
        bounds = {key: results["bounds"][key] for key in ("value", "low", "high")}
        summary[protocol][results["number"]] |= {**bounds, "anytime_valid": True}


def _read_summary(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    return content if isinstance(content, dict) else {}
