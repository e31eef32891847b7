"""`t2i-spatial ask`: questions to a vision-language judge about the images of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    Command,
    as_json_option,
    given,
    overwrite_option,
    settings_options,
)
from t2i_spatial.stages.ask_settings import AskSettings


@click.command("ask", cls=Command)
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@settings_options(AskSettings)
@click.option(
    "--dry-run", is_flag=True, help="Only say how many requests, images and tokens it would take."
)
@overwrite_option
@as_json_option
def command(run_dir: Path, dry_run: bool, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Ask a judge what protocols want to know of the images of RUN.

    What is answered is kept: the same command goes on, and another protocol asks only what is new.
    `score -p PROTOCOL --answers NAME` judges by the answers.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.ask import ask_run

    settings = given(AskSettings, options)
    protocols = settings.askers()
    result = ask_run(Run.open(run_dir), protocols, settings, dry_run=dry_run, overwrite=overwrite)
    click.echo(json.dumps(result.to_json()) if as_json else result.as_text())
    result.require_some()
