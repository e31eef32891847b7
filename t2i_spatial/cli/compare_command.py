"""`t2i-spatial compare`: what two runs did differently, then paired differences."""

from __future__ import annotations

import json
from pathlib import Path

import click

from t2i_spatial.cli.options import (
    NEW_FOLDER,
    Command,
    as_json_option,
    overwrite_option,
    refuse_given,
)
from t2i_spatial.settings import DEFAULT_PROTOCOLS

SOURCE = click.Path(exists=True, path_type=Path)


@click.command("compare", cls=Command)
@click.argument("a", type=SOURCE)
@click.argument("b", type=SOURCE)
@click.option(
    "--protocol",
    "-p",
    "protocols",
    multiple=True,
    metavar="NAME",
    help="Protocol to compare by; may be repeated.  [default: all that both have scores of]",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave pairs without both scores out, instead of counting an image without a score as a "
    "failure.",
)
@click.option(
    "--decide",
    is_flag=True,
    help="Also look at the pairs in random order, and say after how many prompts it was clear "
    "which run is better.",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.02,
    help="With --decide, differences up to this fraction count as similar.",
)
@click.option(
    "--output",
    "-o",
    type=NEW_FOLDER,
    help="With --decide, make what is needed here: A and B are then config files, whose images are "
    "made and detected only until the better one is known, or runs whose images are detected so.",
)
@overwrite_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Of bootstrap, permutation and random order.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=100),
    default=10_000,
    help="Bootstrap resamples and permutations.",
)
@as_json_option
def command(
    a: Path,
    b: Path,
    protocols: tuple[str, ...],
    allow_missing: bool,
    decide: bool,
    margin: float,
    output: Path | None,
    overwrite: bool,
    seed: int,
    resamples: int,
    as_json: bool,
) -> None:
    """Is run B better than run A on the same prompts?

    Says first how the runs were made differently. Then every number of both in per cent, the
    difference in points with its 95 % interval, and p: images are paired by prompt and sample, and
    prompts are resampled and permuted whole. Runs with other prompts, detectors, thresholds or
    protocol settings are listed but not compared, and end the command with exit code 1.
    """
    if not decide:
        refuse_given(("margin",), "it goes with --decide")
    if output is None:
        refuse_given(("overwrite",), "it goes with --output")
    else:
        refuse_given(("resamples", "allow_missing"), "--output decides while images are made")
        if not decide:
            raise click.UsageError("--output needs --decide")
        _decide(a, b, protocols, output, margin, seed, overwrite, as_json)
        return
    if not (a.is_dir() and b.is_dir()):
        raise click.UsageError("config files need --decide and --output")
    from t2i_spatial.stages.compare import compare_runs
    from t2i_spatial.stages.compare_text import format_comparison

    comparison = compare_runs(
        a,
        b,
        protocols,
        allow_missing=allow_missing,
        decide=decide,
        margin=margin,
        seed=seed,
        resamples=resamples,
    )
    click.echo(
        json.dumps(comparison.to_json(), indent=2) if as_json else format_comparison(comparison)
    )
    comparison.require_comparable()
    if not allow_missing:
        comparison.require_complete()


def _decide(
    a: Path,
    b: Path,
    protocols: tuple[str, ...],
    output: Path,
    margin: float,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    from t2i_spatial.stages.early_stopping.stage import decide_between
    from t2i_spatial.stages.protocols import make_protocols

    if len(protocols) > 1:
        raise click.UsageError("--output decides by one --protocol")
    protocol = make_protocols(protocols or DEFAULT_PROTOCOLS[:1])[0]
    stopped = decide_between(a, b, protocol, output, margin=margin, seed=seed, overwrite=overwrite)
    click.echo(json.dumps(stopped.to_json(), indent=2) if as_json else str(stopped))
    click.echo(f"runs: {output / 'a'} and {output / 'b'}", err=True)
    stopped.require_complete()
