"""`t2i-spatial demo`: the whole loop on the bundled models."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from t2i_spatial.progress import note


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("demo-run"),
    help="Run directory; an interrupted demo goes on there.",
)  # fmt: skip
@click.option("--prompts", "limit", type=click.IntRange(min=1), default=60, help="Prompts of SR2D.")
@click.option("--samples", type=click.IntRange(min=1), default=4, help="Images per prompt.")
@click.option("--seed", default=0, help="Seed of the prompt sample and of the images.")
@click.option("--overwrite", is_flag=True, help="Make stages anew whose settings have changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    output: Path, limit: int, samples: int, seed: int, overwrite: bool, as_json: bool
) -> None:
    """Prompts, images, boxes, verdicts, a curated set and a report, offline in minutes.

    The generator and the detector ship with this package. They are tiny, know two dozen COCO
    nouns, and run through the same code as the models of a hub.
    """
    from t2i_spatial.stages.demo import demo_settings
    from t2i_spatial.stages.pipeline import run_pipeline
    from t2i_spatial.stages.score import format_table

    begun = time.monotonic()
    run, scores = run_pipeline(
        demo_settings(output, limit=limit, samples=samples, seed=seed), overwrite=overwrite
    )
    if as_json:
        click.echo(json.dumps(scores.summary, indent=2))
    else:
        click.echo(format_table(scores.summary))
        click.echo(f"\ncurated set  {run.path / 'curated'}")
        click.echo(f"report       {run.path / 'report.html'}")
    note(f"time         {time.monotonic() - begun:.0f} s")
    scores.require_complete()
