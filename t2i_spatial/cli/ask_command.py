"""`t2i-spatial ask`: questions to a vision-language judge about the images of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    FILE,
    NEW_FILE,
    PLACE,
    Command,
    as_json_option,
    given,
    overwrite_option,
    settings_options,
)
from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.stages.ask_settings import AskSettings


@click.command("ask", cls=Command)
@click.argument("run_dir", metavar="RUN", type=PLACE)
@settings_options(AskSettings)
@settings_options(EngineSettings)
@click.option(
    "--dry-run", is_flag=True, help="Only say how many requests, images and tokens it would take."
)
@click.option(
    "--export-requests",
    type=NEW_FILE,
    metavar="FILE",
    help="Write the requests for a batch API to this file, and ask nobody.",
)
@click.option(
    "--import-replies",
    type=FILE,
    metavar="FILE",
    help="Take the replies of a batch API from this file.",
)
@overwrite_option
@as_json_option
def command(
    run_dir: Path,
    dry_run: bool,
    export_requests: Path | None,
    import_replies: Path | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Ask a judge what protocols want to know of the images of RUN.

    What is answered is kept: the same command goes on, and another protocol asks only what is new.
    `score -p PROTOCOL --answers NAME` judges by the answers.
    """
    from t2i_spatial.engines import make_engine
    from t2i_spatial.run import Run
    from t2i_spatial.stages.ask import ask_run

    settings = given(AskSettings, options)
    protocols = settings.askers()
    engine = make_engine(given(EngineSettings, options))
    if export_requests is not None and (import_replies is not None or dry_run):
        raise click.UsageError("--export-requests writes requests and does nothing else")
    result = ask_run(
        Run.open(run_dir),
        protocols,
        settings,
        dry_run=dry_run,
        export_requests=export_requests,
        import_replies=import_replies,
        overwrite=overwrite,
        engine=engine,
    )
    click.echo(json.dumps(result.to_json()) if as_json else result.as_text())
    result.require_some()
