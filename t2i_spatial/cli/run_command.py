"""`t2i-spatial run`: all stages from one file."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", help="Run directory, instead of the one in the file.")
@click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE",
    help="Override one setting; may be repeated.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Make stages anew whose settings have changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    config: Path, output: str | None, overrides: tuple[str, ...], overwrite: bool, as_json: bool
) -> None:
    """Run all stages from a YAML or TOML file; finished ones are not repeated.

    \b
    output: my-run
    prompts: {source: sr2d, relations_only: true, limit: 200}
    generate: {model: stabilityai/stable-diffusion-2-1, samples: 4}
    detect: {detector: google/owlvit-base-patch32}
    score: {protocols: [visor, spatial]}
    """
    from t2i_spatial.stages.pipeline import load_config, run_pipeline
    from t2i_spatial.stages.score import format_table

    if output is not None:
        overrides = (*overrides, f"output={json.dumps(output)}")
    settings = load_config(config, overrides)
    run, scores = run_pipeline(settings, overwrite=overwrite)
    click.echo(json.dumps(scores.summary, indent=2) if as_json else format_table(scores.summary))
    click.echo(f"run: {run.path}", err=True)
    if not settings.score.allow_missing:
        scores.require_complete()
