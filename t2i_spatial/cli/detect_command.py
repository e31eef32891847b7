"""`t2i-spatial detect`: boxes for the images of a run or of a folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import click

from t2i_spatial.cli.detector_options import detector_options


def _check_name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise click.BadParameter("letters, digits, - and _ only")
    return value


@click.command("detect")
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of images to make RUN from: <prompt id>_<sample>.png, GenEval's layout, or with a "
    "metadata.jsonl. They are not copied.",
)
@click.option(
    "--prompts",
    "prompt_file",
    help="Prompt set of --images; without one the captions of the folder are parsed.",
)
@click.option("--samples", type=int, help="Images expected per prompt of --images.  [default: all]")
@detector_options
@click.option(
    "--name", default="main", callback=_check_name, help="Writes detections/NAME.parquet."
)
@click.option(
    "--vocabulary",
    help="Ask these names of every image instead of its prompt's: comma-separated, a file with one "
    "per line, or 'coco'.",
)
@click.option("--device", default="auto", help="auto, cpu, cuda:0, or several with commas.")
@click.option("--batch-size", default="auto", help="Images per model call, or auto.")
@click.option(
    "--depth", help="Depth model for every box, e.g. depth-anything/Depth-Anything-V2-Small-hf."
)
@click.option("--color", help="Colour of every box: clip (as GenEval), clip:MODEL, or pixels.")
@click.option(
    "--clip-score",
    metavar="MODEL",
    help="Also write clip_score.parquet for curation, e.g. with ViT-L-14/openai.",
)
@click.option("--overwrite", is_flag=True, help="Make this stage anew if it had other settings.")
@click.option("--json", "as_json", is_flag=True, help="Counts as JSON on stdout.")
def command(
    run_dir: Path,
    images: Path | None,
    prompt_file: str | None,
    samples: int | None,
    vocabulary: str | None,
    batch_size: str,
    clip_score: str | None,
    overwrite: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Find the objects that the prompts of RUN name in its images."""
    from t2i_spatial.detectors.vocabularies import read_vocabulary
    from t2i_spatial.prompts import load_prompts
    from t2i_spatial.run import Run, detect_stage
    from t2i_spatial.stages.detect import DetectSettings, detect_run
    from t2i_spatial.stages.import_images import import_images

    if (prompt_file or samples) and images is None:
        raise click.UsageError("--prompts and --samples go with --images")
    if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size) > 0):
        raise click.BadParameter("expected a number above 0, or auto", param_hint="--batch-size")
    size: int | Literal["auto"] = "auto" if batch_size == "auto" else int(batch_size)
    if images is None:
        run = Run.open(run_dir)
    else:
        run = Run.create(run_dir)
        prompts = load_prompts(prompt_file) if prompt_file else None
        import_images(run, images, prompts, samples, overwrite=overwrite)
    detect_run(
        run,
        DetectSettings(
            batch_size=size,
            vocabulary=read_vocabulary(vocabulary) if vocabulary else (),
            **settings,
        ),
        overwrite=overwrite,
    )
    if clip_score:
        from t2i_spatial.stages.clip_score import clip_score_run

        clip_score_run(
            run,
            clip_score,
            device=settings["device"],
            dtype=settings["dtype"],
            batch_size=size,
            overwrite=overwrite,
        )
    results = run.manifest["stages"][detect_stage(settings["name"])]["results"]
    if as_json:
        click.echo(json.dumps(results))
        return
    scored = results["statuses"].get("scored", 0)
    click.echo(f"{results['boxes']} boxes in {scored} of {results['expected']} expected images")
    for status, count in sorted(results["statuses"].items()):
        if status != "scored":
            click.echo(f"  {count} {status}")
