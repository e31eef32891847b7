"""`t2i-spatial report`: one self-contained HTML file for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import FOLDER, NEW_FILE, Command, given, settings_options
from t2i_spatial.stages.stage_settings import ReportSettings


@click.command("report", cls=Command)
@click.argument("run", type=FOLDER)
@click.option(
    "--output",
    "-o",
    type=NEW_FILE,
    help="The HTML file to write, - for stdout.  [default: RUN/report.html]",
)
@settings_options(ReportSettings)
def command(run: Path, output: Path | None, **options: Any) -> None:
    """Write one self-contained HTML file for RUN: scores, gallery, reasons, curation.

    The file loads nothing from the network and can be sent as it is.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.report import report_run

    settings = given(ReportSettings, options)
    path = report_run(Run.open(run), output, **settings.model_dump())
    click.echo(path, err=str(output) == "-")
