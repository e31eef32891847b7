"""`t2i-spatial audit`: pick images to label, then numbers corrected by the labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    FILE,
    FOLDER,
    NEW_FILE,
    Command,
    as_json_option,
    given,
    settings_options,
)
from t2i_spatial.stages.auditing.settings import AuditSettings, PickSettings, PlanSettings


class _AuditGroup(click.Group):
    """A group whose sub-command may also be the folder of a run."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            return "numbers", self.commands["numbers"], args
        return super().resolve_command(ctx, args)


@click.group(cls=_AuditGroup, subcommand_metavar="RUN|COMMAND [OPTIONS]")
def command() -> None:
    """Correct the numbers of a run by labels of people.

    `audit pick RUN` chooses images, `view RUN` asks people about them (or `audit import` reads
    labels made elsewhere), `audit RUN` prints every number beside its audited value
    (`t2i-spatial audit numbers --help` has the options).
    """


@command.command("numbers", cls=Command)
@click.argument("run", type=FOLDER)
@settings_options(AuditSettings)
@as_json_option
def numbers_command(run: Path, as_json: bool, **options: Any) -> None:
    """Every number of RUN beside its value by people's labels, with a 95 % interval.

    Writes audit.json, and the audited numbers into summary.json.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.auditing.audit import audit_run
    from t2i_spatial.stages.auditing.text import format_audit

    report = audit_run(Run.open(run), given(AuditSettings, options))
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else format_audit(report))


@command.command("pick", cls=Command)
@click.argument("run", type=FOLDER)
@settings_options(PickSettings)
@as_json_option
def pick_command(run: Path, as_json: bool, **options: Any) -> None:
    """Choose images of RUN to label; again: a further batch.

    Writes labels/picks.parquet with the probability of every image of having been chosen.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.auditing.pick import pick_run

    picks = pick_run(Run.open(run), given(PickSettings, options))
    if as_json:
        click.echo(json.dumps(picks.to_dicts(), indent=2))
        return
    last = picks.filter(picks["batch"] == picks["batch"][-1])
    click.echo(
        f"{len(last):,} images of {last['prompt_id'].n_unique():,} prompts picked "
        f"({len(picks):,} in {picks['batch'][-1]} batches), {last['twice'].sum():,} to be "
        f"labelled twice; label them: t2i-spatial view {run}"
    )


@command.command("plan", cls=Command)
@click.argument("run", type=FOLDER, required=False)
@settings_options(PlanSettings)
@as_json_option
def plan_command(run: Path | None, as_json: bool, **options: Any) -> None:
    """How many labels an interval of the wanted width takes.

    Labels that RUN has already are the pilot; without 50 of them, accuracy and rate are assumed.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.auditing.pick import format_plan, plan_labels

    plan = plan_labels(Run.open(run) if run else None, given(PlanSettings, options))
    click.echo(json.dumps(plan, indent=2) if as_json else format_plan(plan))


@command.command("import", cls=Command)
@click.argument("run", type=FOLDER)
@click.argument("file", type=FILE)
@click.option("--annotator", help="Who made the labels, where the file does not say it.")
def import_command(run: Path, file: Path, annotator: str | None) -> None:
    """Add labels of FILE to RUN.

    FILE: our JSON lines, CSV, Label Studio's JSON export, or SpatialBench-UC's CSV.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.auditing.exchange import import_labels

    added, path = import_labels(Run.open(run), file, annotator)
    click.echo(f"{added:,} labels added to {path}")


@command.command("export", cls=Command)
@click.argument("run", type=FOLDER)
@click.option("--format", "form", type=click.Choice(["csv", "label-studio"]), default="csv")
@click.option("-o", "--output", type=NEW_FILE, default=Path("-"), help="File, - is stdout.")
def export_command(run: Path, form: str, output: Path) -> None:
    """Write the picked images and the labels of RUN as CSV, or as tasks for Label Studio."""
    from t2i_spatial.run import Run
    from t2i_spatial.stages.auditing.exchange import export_labels

    export_labels(Run.open(run), form, output)


@command.command("calibrate", cls=Command)
@click.argument("run", type=FOLDER)
@click.option("-p", "--protocol", default="spatial", help="Whose thresholds are fitted.")
@click.option(
    "-o",
    "--output",
    type=NEW_FILE,
    help="Settings file for `score --set-file`.  [default: none is written]",
)
@as_json_option
def calibrate_command(run: Path, protocol: str, output: Path | None, as_json: bool) -> None:
    """Fit the thresholds of a protocol to the labels of RUN, cross-validated over prompts.

    Nothing is changed by this: scores use a settings file only when they are told to, and say so.
    """
    import dataclasses

    from t2i_spatial.run import Run
    from t2i_spatial.stages.auditing.calibrate import calibrate_run, write_settings

    found = calibrate_run(Run.open(run), protocol)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found) | {"better": found.better}, indent=2))
    else:
        click.echo(
            f"{', '.join(found.settings)}: agrees with people on "
            f"{100 * found.cross_validated:.1f} % of images of prompts it was not fitted on "
            f"({found.facts['labels']:,} labels), before {100 * found.before:.1f} %"
        )
    if output is not None:
        write_settings(found, output)
