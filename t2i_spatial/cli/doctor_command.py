"""`t2i-spatial doctor`: is this installation fit to judge images?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    FOLDER,
    Command,
    as_json_option,
    given,
    mapping_of,
    refuse_given,
    settings_options,
    was_given,
)
from t2i_spatial.stages.ask_settings import AskSettings
from t2i_spatial.stages.stage_settings import DetectorSettings

OF_JUDGES = ("judge_model", "votes", "seed", "cache", "name")
OF_SETS = ("pairs", "benchmarks", "circular", "limit")


@click.command("doctor", cls=Command)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    default=("bundled",),
    help="Detector to try on known drawings; may be repeated.",
)
@settings_options(DetectorSettings, without=("detector",))
@click.option(
    "--judge",
    help="Judge to ask about known drawings: 'bundled', the URL of a chat-completions endpoint, or "
    "'transformers:ID'. No detector is tried then, unless one is named.  [default: none]",
)
@settings_options(AskSettings, only=OF_JUDGES, prefix="With --judge: ")
@click.option(
    "--pairs",
    type=click.IntRange(1, 1000),
    default=8,
    help="With --judge: pairs of opposite scenes of each kind.",
)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="SET=FOLDER",
    callback=mapping_of,
    help="With --judge: also the questions of a published set in its own files: 3dsrbench, "
    "cvbench, spatialbench, vsr, whatsup, or choices for any multiple choice; may be repeated.",
)
@click.option(
    "--circular",
    is_flag=True,
    help="With --benchmark: options in all rotations; a question counts when all are right.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="With --benchmark: about so many questions of each set at most, drawn by --seed.  "
    "[default: all]",
)
@click.option(
    "--run",
    "run_dir",
    type=FOLDER,
    help="With --judge: keep what is found with this run too; `score` tells it beside every number "
    "of this judge.",
)
@as_json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    detectors: tuple[str, ...],
    judge: str | None,
    pairs: int,
    benchmarks: dict[str, str],
    circular: bool,
    limit: int | None,
    run_dir: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Check the installation and let detectors find drawings whose boxes are known.

    Exit code 1 when a detector cannot be loaded, misplaces a box, mixes up left, right, above or
    below, or swaps red and blue.

    With --judge, a vision-language judge is asked about drawings whose truth is known, and with
    --benchmark about the questions of published sets. Exit code 1 when pictures of a set are
    missing.
    """
    if judge is not None and not was_given(context, "detectors"):
        if not benchmarks:
            refuse_given(("circular", "limit"), "they belong to a --benchmark")
        sets = {name: Path(place) for name, place in benchmarks.items()}
        if _examine_judge(judge, pairs, (sets, circular, limit), run_dir, as_json, options):
            context.exit(1)
        return
    refuse_given((*OF_JUDGES, *OF_SETS, "run_dir", "judge"), "they examine a --judge alone")
    from t2i_spatial.stages.doctor import examine, format_examination

    found = examine(
        [given(DetectorSettings, options, detector=name) for name in dict.fromkeys(detectors)]
    )
    text = json.dumps(found.to_dict(), indent=2) if as_json else format_examination(found)
    click.echo(text)
    if not found.healthy:
        context.exit(1)


def _examine_judge(
    judge: str,
    pairs: int,
    sets: tuple[dict[str, Path], bool, int | None],
    run_dir: Path | None,
    as_json: bool,
    options: dict[str, Any],
) -> int:
    """Tell what is found; how many pictures were missing."""
    refuse_given(
        set(DetectorSettings.model_fields) - set(AskSettings.model_fields), "they are of detectors"
    )
    from t2i_spatial.run import Run
    from t2i_spatial.stages.examinations import keep, remember
    from t2i_spatial.stages.judge_doctor import Sets, examine_judge

    settings = given(AskSettings, options, judge=judge)
    run = None if run_dir is None else Run.open(run_dir)
    found = examine_judge(settings, pairs=pairs, sets=Sets(*sets))
    name, page = settings.answers_name, found.to_dict()
    remember(page)
    if run is not None:
        keep(run, name, page)
    click.echo(json.dumps(page, indent=2) if as_json else found.as_text(name))
    return found.missing
