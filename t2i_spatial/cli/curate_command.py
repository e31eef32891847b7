"""`t2i-spatial curate`: keep what is right, with reasons, as a training set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
)
from t2i_spatial.stages.ask_settings import CaptionerSettings
from t2i_spatial.stages.stage_settings import CurateSettings

_JUDGED = tuple(name for name in CaptionerSettings.model_fields if name != "name")


@click.command("curate", cls=Command)
@click.argument("run", required=False, type=FOLDER)
@click.option("--coco", type=FILE, help="Curate the pairs of boxes of a COCO annotation file.")
@click.option("--detections", type=FILE, help="Curate the pairs of boxes of a detections file.")
@click.option("--images", type=FOLDER, help="Images of --coco or --detections.")
@click.option("--prompts", help="Prompt set of --detections in a foreign format.")
@click.option(
    "--output",
    "-o",
    type=NEW_FOLDER,
    help="Where to write, with --coco or --detections.  [default for a run: RUN]",
)
@settings_options(CurateSettings, without=("pipeline", "captioner"))
@settings_options(CaptionerSettings, only=_JUDGED, prefix="With --caption judge: ")
@click.option(
    "--captions-name",
    help="With --caption judge: writes `captions/NAME.parquet`.  "
    "[default: made of the name of the judge]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="With --caption judge: only say how many requests, images and tokens it would take.",
)
@overwrite_option
@click.option("--pipeline", type=FILE, help="YAML list of filters, instead of the usual ones.")
@click.option("--list-filters", is_flag=True, help="Print every filter with its parameters.")
@click.option(
    "--caption-statistics",
    type=FILE,
    help="Only count the spatial phrases in a file of captions.",
)
@as_json_option
def command(
    run: Path | None,
    coco: Path | None,
    detections: Path | None,
    images: Path | None,
    prompts: str | None,
    output: Path | None,
    pipeline: Path | None,
    list_filters: bool,
    caption_statistics: Path | None,
    captions_name: str | None,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Select images of RUN, or pairs of boxes, and write them as a training set.

    selection.parquet says of every candidate whether it is in, and if not, which filter refused
    it and why.
    """
    from t2i_spatial.curation.parsing import describe_filters, parse_filter, read_pipeline
    from t2i_spatial.run import Run
    from t2i_spatial.stages import curate

    if list_filters:
        click.echo(describe_filters())
        return
    if caption_statistics is not None:
        from t2i_spatial.curation.spright import caption_statistics as count
        from t2i_spatial.curation.spright import format_statistics, read_captions

        found = count(read_captions(caption_statistics))
        click.echo(json.dumps(found, indent=2) if as_json else format_statistics(found))
        return
    if sum(source is not None for source in (run, coco, detections)) != 1:
        raise click.UsageError("give one of RUN, --coco or --detections")
    if run is None and output is None:
        raise click.UsageError("--coco and --detections need --output")
    if run is not None and (output is not None or images is not None or prompts is not None):
        raise click.UsageError("RUN has its own images, prompts and output")
    if coco is not None and images is None:
        raise click.UsageError("--coco needs --images")
    if (columns := options["columns"]) is not None and not columns.is_file():
        raise click.UsageError(f"--columns: no such file: {columns}")
    parsed: dict[str, Any] = {"filters": tuple(map(parse_filter, options["filters"]))}
    if run is None:
        options["pairs"] = parsed["pairs"] = True
    if pipeline is not None:
        parsed["pipeline"] = read_pipeline(pipeline)
    captioner = given(
        CaptionerSettings, options, **({} if captions_name is None else {"name": captions_name})
    )
    if captioner.model_fields_set:
        parsed["captioner"] = captioner
    chosen = given(CurateSettings, options, **parsed)
    curate.check_names(chosen)
    if chosen.caption != "judge":
        refuse_given(("dry_run", "overwrite"), "no judge is asked (--caption judge)")
    if dry_run and run is not None:
        cost = curate.cost_of_curating(Run.open(run), chosen)
        told = (
            "{requests:,} requests about {images:,} images, about {tokens:,} tokens; one more "
            "request for each image whose caption the boxes contradict"
        )
        click.echo(json.dumps(cost) if as_json else told.format(**cost))
        return
    if run is not None:
        curated = curate.curate_run(Run.open(run), chosen, announce=False, overwrite=overwrite)
    elif coco is not None and images is not None and output is not None:
        curated = curate.curate_coco(coco, images, output, chosen)
    elif detections is not None and output is not None:
        curated = curate.curate_detections(
            detections, output, chosen, images=images, prompts=prompts
        )
    click.echo(json.dumps(curated.as_dict(), indent=2) if as_json else curated.as_text())
