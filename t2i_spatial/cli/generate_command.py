"""`t2i-spatial generate`: images for a prompt set with a diffusers model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    NEW_FOLDER,
    Command,
    as_json_option,
    given,
    overwrite_option,
    settings_options,
)
from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.stages.stage_settings import GenerateSettings


@click.command("generate", cls=Command)
@click.argument("prompts")
@click.option(
    "--output",
    "-o",
    required=True,
    type=NEW_FOLDER,
    help="Run directory; the same command goes on where it stopped.",
)
@settings_options(GenerateSettings)
@settings_options(EngineSettings)
@overwrite_option
@as_json_option
def command(prompts: str, output: Path, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Generate images for PROMPTS, a prompt file, `sr2d` or - (stdin), into a run directory."""
    from t2i_spatial.engines import make_engine
    from t2i_spatial.prompts import load_prompts
    from t2i_spatial.run import Run
    from t2i_spatial.stages.generate import STAGE, generate_run

    settings = given(GenerateSettings, options)
    engine = make_engine(given(EngineSettings, options))
    loaded = load_prompts(prompts)
    run = Run.create(output)
    generate_run(run, loaded, settings, overwrite=overwrite, engine=engine)
    results = run.manifest["stages"][STAGE]["results"]
    if as_json:
        click.echo(json.dumps({"output": str(output), **results}))
    else:
        expected = results["images"] + results["missing"]
        click.echo(f"{results['images']:,} of {expected:,} images in {output / 'images'}")
