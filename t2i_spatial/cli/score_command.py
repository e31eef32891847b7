"""`t2i-spatial score`: judge detections by one or more protocols."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from t2i_spatial.stages.score import Scores

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("score")
@click.argument("run", required=False, type=FOLDER)
@click.option("--images", type=FOLDER, help="Folder of images to detect in and score.")
@click.option(
    "--detections",
    type=FILE,
    help="Stored detections, scored without a model: own Parquet or JSON lines, COCO, VISOR's "
    "results_*.json, GenEval's results.jsonl.",
)
@click.option(
    "--coco-images", type=FILE, help="Images and categories of --detections that are COCO results."
)
@click.option(
    "--prompts",
    help="Prompt set of --images (default: the captions in the folder) or --detections.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Run directory for verdicts and summary.  [default: RUN; with --detections, none]",
)
@click.option(
    "--protocol",
    "-p",
    "protocols",
    multiple=True,
    default=("visor", "spatial"),
    metavar="NAME",
    help="Protocol to judge by; may be repeated.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PROTOCOL.KEY=VALUE",
    help="Change a protocol's published setting, e.g. geneval.threshold=0.5; may be repeated.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="Images expected per prompt.  [default: as the run planned or the input suggests]",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave images without a score out, as the peers do, instead of counting them as failures.",
)
@click.option(
    "--only-read",
    is_flag=True,
    help="Leave out prompts that a protocol judges in part (not all of them could be read, or it "
    "has no rule for a part), instead of counting them as not right.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Of bootstrap and random order."
)
@click.option(
    "--resamples", type=click.IntRange(min=100), default=2000, help="Bootstrap resamples."
)
@click.option("--detector", default="bundled", help="Detector, with --images.")
@click.option("--threshold", type=float, help="Of the detector, with --images.  [default: its own]")
@click.option("--device", default="auto", help="Device of the detector, with --images.")
@click.option(
    "--agree",
    metavar="NAME",
    help="Second detections of RUN (`detect --name NAME`): where they lead to another verdict, the "
    "image is ambiguous.",
)
@click.option(
    "--precision",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    help="Judge prompts in random order, and stop when --number of the first --protocol is known "
    "to ± this fraction (0.02 is two points). Images are then only detected as far as needed.",
)
@click.option(
    "--number",
    metavar="NAME",
    help="With --precision, the number to measure.  [default: the protocol's main one]",
)
@click.option("--overwrite", is_flag=True, help="Replace what another plan made in --output.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    run: Path | None,
    images: Path | None,
    detections: Path | None,
    coco_images: Path | None,
    prompts: str | None,
    output: Path | None,
    protocols: tuple[str, ...],
    settings: tuple[str, ...],
    samples: int | None,
    allow_missing: bool,
    only_read: bool,
    seed: int,
    resamples: int,
    detector: str,
    threshold: float | None,
    device: str,
    agree: str | None,
    precision: float | None,
    number: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Judge the detections of RUN, of --images or of --detections.

    Prints the published numbers of every protocol in per cent, with 95 % intervals clustered by
    prompt. Images without a score count as failures, and end the command with exit code 1 after
    everything is written, unless --allow-missing.
    """
    from t2i_spatial.metrics.numbers import Intervals
    from t2i_spatial.stages.score import make_protocols, score_source

    if sum(source is not None for source in (run, images, detections)) != 1:
        raise click.UsageError("give one of RUN, --images or --detections")
    if run is not None and (prompts is not None or (output is not None and precision is None)):
        raise click.UsageError("RUN has its own prompts and output")
    if number is not None and precision is None:
        raise click.UsageError("--number needs --precision")
    if detections is not None and prompts is None:
        raise click.UsageError("--detections needs --prompts")
    if images is not None and output is None:
        raise click.UsageError("--images needs --output")
    if agree is not None and (run is None or precision is not None):
        raise click.UsageError("--agree needs RUN, and does not go with --precision")
    if precision is not None:
        from t2i_spatial.stages.detect import DetectSettings
        from t2i_spatial.stages.early_stopping.stage import score_until

        stopped = score_until(
            make_protocols(protocols, settings, only_read=only_read)[0],
            precision,
            run=run,
            images=images,
            detections=detections,
            coco_images=coco_images,
            prompts=prompts,
            detect=DetectSettings(detector=detector, threshold=threshold, device=device),
            output=output,
            number=number,
            samples=samples,
            allow_missing=allow_missing,
            seed=seed,
            overwrite=overwrite,
        )
        click.echo(json.dumps(stopped.to_json(), indent=2) if as_json else str(stopped))
        if not allow_missing:
            stopped.require_complete()
        return
    judges = make_protocols(protocols, settings, only_read=only_read)
    intervals = Intervals(allow_missing=allow_missing, seed=seed, resamples=resamples)
    if run is not None and agree is not None:
        from t2i_spatial.run import Run
        from t2i_spatial.stages.agreement import agree_run

        scores = agree_run(Run.open(run), judges, agree, intervals, samples=samples)
        _print(scores, as_json, allow_missing)
        return
    scores = score_source(
        judges,
        intervals,
        run=run,
        images=images,
        detections=detections,
        coco_images=coco_images,
        prompts=prompts,
        output=output,
        samples=samples,
        detector=detector,
        threshold=threshold,
        device=device,
        overwrite=overwrite,
    )
    _print(scores, as_json, allow_missing)


def _print(scores: Scores, as_json: bool, allow_missing: bool) -> None:
    from t2i_spatial.stages.score import format_table

    click.echo(json.dumps(scores.summary, indent=2) if as_json else format_table(scores.summary))
    if not allow_missing:
        scores.require_complete()
