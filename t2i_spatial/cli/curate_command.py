"""`t2i-spatial curate`: keep what is right, with reasons, as a training set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("curate")
@click.argument("run", required=False, type=FOLDER)
@click.option("--coco", type=FILE, help="Curate the pairs of boxes of a COCO annotation file.")
@click.option("--detections", type=FILE, help="Curate the pairs of boxes of a detections file.")
@click.option("--images", type=FOLDER, help="Images of --coco or --detections.")
@click.option("--prompts", help="Prompt set of --detections in a foreign format.")
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write, with --coco or --detections.  [default for a run: RUN]",
)
@click.option("--pairs", is_flag=True, help="Curate the pairs of detected boxes of RUN.")
@click.option("--protocol", "-p", default="visor", help="Whose verdicts decide what is correct.")
@click.option("--name", default="main", help="Which detections of RUN.")
@click.option("--second", help="Detections of a second detector, for the filter 'agreement'.")
@click.option("--columns", type=FILE, help="Table of your own scores, for the filter 'column'.")
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    default=0.3,
    help="Lowest detector score of the boxes that are used.",
)
@click.option(
    "--min-margin",
    type=float,
    default=0.05,
    help="Least distance from the other answer, in the protocol's unit (VISOR: image sides).",
)
@click.option(
    "--min-area", type=click.FloatRange(min=0), default=1024.0, help="Of boxes of pairs, in px²."
)
@click.option(
    "--duplicate-distance",
    type=click.IntRange(-1, 12),
    default=4,
    help="Drop near-duplicates within this many bits of pHash; -1 keeps them.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="A further filter, in this order (repeatable); or YAML, '{filter: NAME, KEY: VALUE}'. "
    "Of pairs, all of the filters.  [default of pairs: scop]",
)
@click.option("--pipeline", type=FILE, help="YAML list of filters, instead of the usual ones.")
@click.option(
    "--caption",
    type=click.Choice(["prompt", "short", "scop", "long"]),
    help="The prompt, or what the boxes say: one pair in a short wording or in CoMPaSS's, or "
    "several relations.  [default: prompt; of pairs: scop]",
)
@click.option(
    "--caption-percent",
    type=click.FloatRange(0, 100),
    default=100.0,
    help="How many images get that caption; the others keep their prompt.",
)
@click.option("--tokenizer", help="Folder or hub id, for exact token counts of captions.")
@click.option("--drop-long", is_flag=True, help="Drop captions of more than 77 CLIP tokens.")
@click.option(
    "--mirror", is_flag=True, help="Add mirrored copies with left and right swapped in the caption."
)
@click.option(
    "--crop/--no-crop",
    default=None,
    help="Take the square around the two boxes.  [default: of pairs only]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the choice of captions.")
@click.option(
    "--export",
    default="imagefolder",
    help="imagefolder, kohya, webdataset or parquet; 'none' writes selection.parquet only.",
)
@click.option(
    "--resolution",
    type=click.IntRange(8, 4096),
    help="Resize every image, whole, to this square side.  [default: as they are]",
)
@click.option(
    "--min-images", type=click.IntRange(min=1), default=1, help="Fewer kept images are an error."
)
@click.option("--list-filters", is_flag=True, help="Print every filter with its parameters.")
@click.option(
    "--caption-statistics",
    type=FILE,
    help="Only count the spatial phrases in a file of captions.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def command(
    run: Path | None,
    coco: Path | None,
    detections: Path | None,
    images: Path | None,
    prompts: str | None,
    output: Path | None,
    pipeline: Path | None,
    filters: tuple[str, ...],
    export: str,
    list_filters: bool,
    caption_statistics: Path | None,
    as_json: bool,
    **settings: Any,
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
    chosen = curate.CurateSettings.model_validate(
        {
            **settings,
            "filters": tuple(parse_filter(text) for text in filters),
            "pipeline": None if pipeline is None else read_pipeline(pipeline),
            "export": None if export == "none" else export,
        }
    )
    if run is not None:
        curated = curate.curate_run(Run.open(run), chosen, announce=False)
    elif coco is not None and images is not None and output is not None:
        curated = curate.curate_coco(coco, images, output, chosen)
    elif detections is not None and output is not None:
        curated = curate.curate_detections(
            detections, output, chosen, images=images, prompts=prompts
        )
    click.echo(json.dumps(curated.as_dict(), indent=2) if as_json else curated.as_text())
