"""`t2i-spatial merge`: complete what jobs with --shard have made together."""

from __future__ import annotations

import json
from pathlib import Path

import click

from t2i_spatial.cli.options import FOLDER, Command, as_json_option


@click.command("merge", cls=Command)
@click.argument("run_dir", metavar="RUN", type=FOLDER)
@as_json_option
def command(run_dir: Path, as_json: bool) -> None:
    """Complete the stages of RUN that jobs with --shard have made, or say which jobs are missing.

    The last job does so itself; this is for when it was killed, or you wonder what is left.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.merge import merge_run

    stages = merge_run(Run.open(run_dir))
    click.echo(json.dumps({"completed": stages}) if as_json else f"completed: {', '.join(stages)}")
