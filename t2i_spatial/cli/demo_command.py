"""`t2i-spatial demo`: the whole loop on the bundled models."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from t2i_spatial.cli.options import (
    LOCAL_FOLDER,
    Command,
    as_json_option,
    overwrite_option,
    settings_options,
)
from t2i_spatial.progress import note
from t2i_spatial.stages.stage_settings import GenerateSettings


@click.command("demo", cls=Command)
@click.option(
    "-o",
    "--output",
    type=LOCAL_FOLDER,
    default=Path("demo-run"),
    help="Run directory; an interrupted demo goes on there.",
)
@click.option("--prompts", "limit", type=click.IntRange(min=1), default=60, help="Prompts of SR2D.")
@settings_options(GenerateSettings, only=("samples",))
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    default=300,
    help="Optimiser steps of the fine-tuning at the end; 0 leaves it out.",
)
@settings_options(GenerateSettings, only=("seed",))
@overwrite_option
@as_json_option
def command(
    output: Path,
    limit: int,
    samples: int,
    steps: int,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Images, boxes, verdicts, a curated set, a report, and a better model: offline, in minutes.

    The generator and the detector ship with this package. They are tiny, know two dozen COCO
    nouns, and run through the same code as the models of a hub. At the end the generator is
    fine-tuned on rendered scenes that show other pairs of objects, chosen by SCOP, and answers the
    same prompts again.
    """
    from t2i_spatial.stages.demo import demo_improvement, demo_settings
    from t2i_spatial.stages.pipeline import run_pipeline
    from t2i_spatial.stages.score import format_table

    begun = time.monotonic()
    run, scores = run_pipeline(
        demo_settings(output, limit=limit, samples=samples, seed=seed), overwrite=overwrite
    )
    if not as_json:
        click.echo(format_table(scores.summary))
        click.echo(f"\ncurated set  {run.path / 'curated'}")
        click.echo(f"report       {run.path / 'report.html'}")
    scores.require_complete()
    improved = None
    if steps:
        from t2i_spatial.stages.improve import format_rounds, improve

        place = run.path / "improve"
        settings = demo_improvement(samples=samples, steps=steps, seed=seed)
        improved = improve(place, settings, base=run, overwrite=overwrite)
        if not as_json:
            click.echo(f"\nfine-tuned for {steps} steps on rendered scenes of other pairs")
            click.echo(format_rounds(improved))
            click.echo(f"\npictures     {place / 'improve.png'}")
    if as_json:
        click.echo(json.dumps({"scores": scores.summary, "improve": improved}, indent=2))
    note(f"time         {time.monotonic() - begun:.0f} s")
