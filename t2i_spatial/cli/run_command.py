"""`t2i-spatial run`: all stages from one file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from t2i_spatial.cli.options import PLACE, Command, as_json_option, overwrite_option


@click.command("run", cls=Command)
@click.argument("config", required=False, type=PLACE)
@click.option("-o", "--output", help="Run directory.  [default: the one in the file]")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Override one setting; may be repeated.",
)
@click.option("--keys", is_flag=True, help="Print every key of CONFIG with its default.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of CONFIG, for editors.")
@overwrite_option
@as_json_option
def command(
    config: Path | None,
    output: str | None,
    overrides: tuple[str, ...],
    keys: bool,
    schema: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Run all stages from a YAML or TOML file (- is stdin); finished ones are not repeated.

    \b
    output: my-run
    prompts: {source: sr2d, relations_only: true, limit: 200}
    generate: {model: stabilityai/stable-diffusion-2-1, samples: 4}
    detect: {detector: google/owlvit-base-patch32}
    score: {protocols: [visor, spatial]}
    """
    from t2i_spatial.stages.config import PipelineSettings, load_config
    from t2i_spatial.stages.config_reference import key_tables

    if keys or schema:
        shown = PipelineSettings.model_json_schema() if schema else None
        click.echo(json.dumps(shown, indent=2) if schema else key_tables())
        return
    if config is None:
        raise click.UsageError("give the CONFIG file, or --keys to see what it may say")
    from t2i_spatial.stages.pipeline import run_pipeline
    from t2i_spatial.stages.score import format_table

    if output is not None:
        overrides = (*overrides, f"output={json.dumps(output)}")
    settings = load_config(config, overrides)
    run, scores = run_pipeline(settings, overwrite=overwrite)
    click.echo(json.dumps(scores.summary, indent=2) if as_json else format_table(scores.summary))
    click.echo(f"run: {run.path}", err=True)
    if not settings.score.allow_missing:
        scores.require_complete()
