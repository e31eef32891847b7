"""`t2i-spatial detect`: boxes for the images of a run or of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    FOLDER,
    PLACE,
    Command,
    as_json_option,
    given,
    overwrite_option,
    refuse_given,
    settings_options,
)
from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.stages.stage_settings import DetectSettings, ImportSettings


@click.command("detect", cls=Command)
@click.argument("run_dir", metavar="RUN", type=PLACE)
@click.option(
    "--images",
    type=FOLDER,
    help="Folder of images to make RUN from: <prompt id>_<sample>.png, GenEval's layout, or with a "
    "metadata.jsonl. They are not copied.",
)
@click.option(
    "--prompts",
    help="Prompt set of --images; without one the captions of the folder are parsed.",
)
@settings_options(ImportSettings, only=("samples",), prefix="With --images: ")
@settings_options(DetectSettings)
@settings_options(EngineSettings)
@overwrite_option
@as_json_option
def command(
    run_dir: Path,
    images: Path | None,
    prompts: str | None,
    samples: int | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the objects that the prompts of RUN name in its images."""
    from t2i_spatial.engines import make_engine
    from t2i_spatial.prompts import load_prompts
    from t2i_spatial.run import Run
    from t2i_spatial.stages.detect import count_detected, detect_run
    from t2i_spatial.stages.import_images import import_images
    from t2i_spatial.stages.suitable import check_detector

    if images is None:
        refuse_given(("prompts", "samples"), "they describe a folder of --images")
    settings = given(DetectSettings, options)
    engine = make_engine(given(EngineSettings, options))
    if images is None:
        run = Run.open(run_dir)
        check_detector(settings, run.plan("generate").get("model"))
    else:
        check_detector(settings, None)
        loaded = load_prompts(prompts) if prompts else None
        run = Run.create(run_dir)
        import_images(run, images, loaded, samples, overwrite=overwrite)
    detect_run(run, settings, overwrite=overwrite, engine=engine)
    counts = count_detected(run, settings.name)
    click.echo(json.dumps(counts.results) if as_json else counts.as_text())
    counts.require_some()
