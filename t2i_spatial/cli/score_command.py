"""`t2i-spatial score`: judge detections by one or more protocols."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from t2i_spatial.cli.options import (
    FILE,
    FOLDER,
    NEW_FOLDER,
    Command,
    as_json_option,
    given,
    overwrite_option,
    refuse_given,
    settings_options,
    was_given,
)
from t2i_spatial.detectors.precomputed import ReadingOptions
from t2i_spatial.stages.stage_settings import DetectorSettings, DetectSettings, ScoreSettings

if TYPE_CHECKING:
    from t2i_spatial.stages.score import Scores

DETECTOR = (*DetectorSettings.model_fields, "batch_size")


@click.command("score", cls=Command, renamed={"--agree": "--second"})
@click.argument("run", required=False, type=FOLDER)
@click.option("--images", type=FOLDER, help="Folder of images to detect in and score.")
@click.option(
    "--detections",
    type=FILE,
    multiple=True,
    help="Stored detections, scored without a model: own Parquet or JSON lines, COCO, VISOR's "
    "results_*.json, GenEval's results.jsonl, CSV with a row per box, Label Studio; may be "
    "repeated for files of different images.",
)
@settings_options(ReadingOptions)
@click.option(
    "--answer-file",
    type=FILE,
    help="A peer's result file, scored again by its --protocol: spatialgeneval, geneval2, dsg, "
    "tifa, t2i_compbench_mllm or unigenbench.",
)
@click.option(
    "--prompts",
    help="Prompt set of --images (default: the captions in the folder), --detections or "
    "--answer-file; - is stdin.",
)
@click.option(
    "--set-file",
    type=FILE,
    help="With RUN: settings that `audit calibrate` fitted to labels; the summary says so.",
)
@click.option(
    "--output",
    "-o",
    type=NEW_FOLDER,
    help="Run directory for verdicts and summary.  [default: RUN; with --detections, none]",
)
@settings_options(ScoreSettings)
@settings_options(DetectSettings, only=DETECTOR, prefix="With --images: ")
@overwrite_option
@as_json_option
def command(
    run: Path | None,
    images: Path | None,
    detections: tuple[Path, ...],
    answer_file: Path | None,
    prompts: str | None,
    set_file: Path | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Judge RUN, a folder of --images or stored --detections.

    Protocols that judge by answers need a RUN of which a judge was asked.

    Prints the published numbers of every protocol in per cent, with 95 % intervals clustered by
    prompt. Images without a score count as failures, and end the command with exit code 1 after
    everything is written, unless --allow-missing.
    """
    settings = given(ScoreSettings, options)
    if answer_file is not None:
        _check_answer_file(run, images, detections, prompts, output)
        _score_answer_file(answer_file, str(prompts), settings, as_json)
        return
    _check_source(run, images, detections, prompts, output, settings)
    detect = given(DetectSettings, {name: options[name] for name in DETECTOR})
    calibrated: dict[str, Any] = {}
    if set_file is not None:
        from t2i_spatial.stages.auditing.calibrate import read_settings

        if run is None or settings.second is not None or settings.precision is not None:
            raise click.UsageError("--set-file goes with RUN, without --second and --precision")
        more, calibrated = read_settings(set_file, settings.protocols)
        settings = settings.model_copy(update={"settings": (*more, *settings.settings)})
    judges = settings.judges()
    if images is not None:
        from t2i_spatial.stages.suitable import check_detector

        check_detector(detect, None)
    stored = given(ReadingOptions, options).files(*detections) if detections else None
    if settings.precision is not None:
        from t2i_spatial.stages.early_stopping.stage import score_to_precision

        stopped = score_to_precision(
            judges[0],
            settings.precision,
            number=settings.number,
            allow_missing=settings.allow_missing,
            seed=settings.seed,
            run=run,
            images=images,
            detections=stored,
            prompts=prompts,
            detect=detect,
            output=output,
            samples=settings.samples,
            overwrite=overwrite,
        )
        click.echo(json.dumps(stopped.to_json(), indent=2) if as_json else str(stopped))
        if not settings.allow_missing:
            stopped.require_complete()
        return
    from t2i_spatial.prompts import load_prompts
    from t2i_spatial.run import Run
    from t2i_spatial.stages.agreement import agree_run
    from t2i_spatial.stages.score import score_run
    from t2i_spatial.stages.score_sources import score_detections, score_images

    way = (judges, settings.intervals)
    asked = load_prompts(prompts) if prompts else None
    goal: dict[str, Any] = {"samples": settings.samples, "overwrite": overwrite}
    if run is not None and settings.second is not None:
        second = settings.second
        scores = agree_run(
            Run.open(run), judges, second, settings.intervals, samples=settings.samples
        )
    elif run is not None:
        scores = score_run(
            Run.open(run),
            *way,
            samples=settings.samples,
            answers=settings.answers,
            calibrated=calibrated,
        )
    elif stored is not None:
        scores = score_detections(stored, asked or (), *way, output=output, **goal)
    elif images is not None and output is not None:
        scores = score_images(images, output, *way, prompts=asked, detect=detect, **goal)
    _print(scores, as_json, settings.allow_missing)


def _check_answer_file(
    run: Path | None,
    images: Path | None,
    detections: tuple[Path, ...],
    prompts: str | None,
    output: Path | None,
) -> None:
    if run is not None or images is not None or detections or output is not None:
        raise click.UsageError("--answer-file is scored alone, and nothing is written")
    if prompts is None:
        raise click.UsageError("--answer-file needs --prompts")
    refuse_given(("answers", "second", "precision", "number"), "--answer-file is what is scored")
    refuse_given(DETECTOR, "no image is looked at")


def _score_answer_file(path: Path, prompts: str, settings: ScoreSettings, as_json: bool) -> None:
    from t2i_spatial.prompts import load_prompts
    from t2i_spatial.stages.score_sources import score_answer_file

    scores = score_answer_file(
        path,
        load_prompts(prompts),
        settings.judges(),
        settings.intervals,
        samples=settings.samples,
    )
    _print(scores, as_json, settings.allow_missing)


def _check_source(
    run: Path | None,
    images: Path | None,
    detections: tuple[Path, ...],
    prompts: str | None,
    output: Path | None,
    settings: ScoreSettings,
) -> None:
    """Refuse what does not go together, and what would have no effect."""
    if sum(bool(source) for source in (run, images, detections)) != 1:
        raise click.UsageError("give one of RUN, --images, --detections or --answer-file")
    if run is not None and (prompts is not None or (output is not None and not settings.precision)):
        raise click.UsageError("RUN has its own prompts and output")
    if settings.number is not None and settings.precision is None:
        raise click.UsageError("--number needs --precision")
    if detections and prompts is None:
        raise click.UsageError("--detections needs --prompts")
    if images is not None and output is None:
        raise click.UsageError("--images needs --output")
    if settings.second is not None and (run is None or settings.precision is not None):
        raise click.UsageError("--second needs RUN, and does not go with --precision")
    if run is None:
        refuse_given(("answers",), "answers belong to RUN")
    if not detections:
        refuse_given(ReadingOptions.model_fields, "it describes --detections")
    if detections or (run is not None and output is None):
        refuse_given(DETECTOR, "stored detections are scored; `t2i-spatial detect` makes new ones")
    if output is None:
        refuse_given(("overwrite",), "it goes with --output")
    if settings.precision is not None:
        refuse_given(("resamples",), "with --precision intervals need no resampling")
        if was_given(click.get_current_context(), "protocols") and len(settings.protocols) > 1:
            raise click.UsageError("--precision measures one --protocol")


def _print(scores: Scores, as_json: bool, allow_missing: bool) -> None:
    from t2i_spatial.stages.score import format_table

    click.echo(json.dumps(scores.summary, indent=2) if as_json else format_table(scores.summary))
    if not allow_missing:
        scores.require_complete()
