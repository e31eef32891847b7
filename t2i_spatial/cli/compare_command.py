"""`t2i-spatial compare`: what two runs did differently, then paired differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    NEW_FOLDER,
    Command,
    Place,
    as_json_option,
    given,
    overwrite_option,
    refuse_given,
    settings_options,
)
from t2i_spatial.settings import DEFAULT_PROTOCOLS
from t2i_spatial.stages.stage_settings import CompareSettings

SOURCE = Place(exists=True)


@click.command("compare", cls=Command)
@click.argument("a", type=SOURCE)
@click.argument("b", type=SOURCE)
@settings_options(CompareSettings)
@click.option(
    "--output",
    "-o",
    type=NEW_FOLDER,
    help="With --decide, make what is needed here: A and B are then config files, whose images are "
    "made and detected only until the better one is known, or runs whose images are detected so.",
)
@overwrite_option
@as_json_option
def command(
    a: Path, b: Path, output: Path | None, overwrite: bool, as_json: bool, **options: Any
) -> None:
    """Is run B better than run A on the same prompts?

    Says first how the runs were made differently. Then every number of both in per cent, the
    difference in points with its 95 % interval, and p: images are paired by prompt and sample, and
    prompts are resampled and permuted whole. Runs with other prompts, detectors, thresholds or
    protocol settings are listed but not compared, and end the command with exit code 1.
    """
    from t2i_spatial.stages.compare import compare_runs
    from t2i_spatial.stages.compare_text import format_comparison

    settings = given(CompareSettings, options)
    if not settings.decide:
        refuse_given(("margin", "output"), "it goes with --decide")
    if output is not None:
        reason = "--output decides while images are made"
        refuse_given(("resamples", "allow_missing", "shared_prompts", "by", "labels"), reason)
        _decide(a, b, settings, output, overwrite, as_json)
        return
    refuse_given(("overwrite",), "it goes with --output")
    if not (a.is_dir() and b.is_dir()):
        raise click.UsageError("config files need --decide and --output")
    comparison = compare_runs(
        a,
        b,
        settings.protocols,
        settings.intervals,
        shared_prompts=settings.shared_prompts,
        by=settings.by,
        decide=settings.decide,
        margin=settings.margin,
    )
    told = comparison.to_json()
    text = format_comparison(comparison)
    if settings.labels and comparison.comparable:
        from t2i_spatial.run import Run
        from t2i_spatial.stages.auditing.compare import audited_differences, format_differences

        audited = audited_differences(Run.open(a), Run.open(b), list(comparison.protocols))
        told["audited"] = audited
        text += "\n" + format_differences(audited)
    click.echo(json.dumps(told, indent=2) if as_json else text)
    comparison.require_comparable()
    if not settings.allow_missing:
        comparison.require_complete()


def _decide(
    a: Path, b: Path, settings: CompareSettings, output: Path, overwrite: bool, as_json: bool
) -> None:
    from t2i_spatial.stages.early_stopping.stage import decide_between
    from t2i_spatial.stages.protocols import make_protocols

    if len(settings.protocols) > 1:
        raise click.UsageError("--output decides by one --protocol")
    protocol = make_protocols(settings.protocols or DEFAULT_PROTOCOLS[:1])[0]
    stopped = decide_between(
        a,
        b,
        protocol,
        output,
        margin=settings.margin,
        seed=settings.seed,
        overwrite=overwrite,
    )
    click.echo(json.dumps(stopped.to_json(), indent=2) if as_json else str(stopped))
    click.echo(f"runs: {output / 'a'} and {output / 'b'}", err=True)
    stopped.require_complete()
