"""`t2i-spatial judges`: what judges of one run say of each other."""

from __future__ import annotations

import json
from pathlib import Path

import click

from t2i_spatial.cli.options import FOLDER, Command, as_json_option


@click.group("judges")
def command() -> None:
    """Compare the judges of a run."""


@command.command("compare", cls=Command)
@click.argument("run_dir", metavar="RUN", type=FOLDER)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@as_json_option
def compare(run_dir: Path, first: str, second: str, as_json: bool) -> None:
    """Answers A and B of RUN: shift per skill, kappa, the images that are disputed."""
    from t2i_spatial.run import Run
    from t2i_spatial.stages.judge_comparison import as_text, compare_judges

    found = compare_judges(Run.open(run_dir), first, second)
    click.echo(json.dumps(found.to_dict()) if as_json else as_text(found))
