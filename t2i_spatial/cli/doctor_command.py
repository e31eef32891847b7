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
    refuse_given,
    settings_options,
    was_given,
)
from t2i_spatial.stages.ask_settings import AskSettings
from t2i_spatial.stages.stage_settings import DetectorSettings

OF_JUDGES = ("judge_model", "votes", "seed", "cache", "name")


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
    "--run",
    "run_dir",
    type=FOLDER,
    help="With --judge: keep what is found with this run; `score` then tells it.",
)
@as_json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    detectors: tuple[str, ...],
    judge: str | None,
    pairs: int,
    run_dir: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Check the installation and let detectors find drawings whose boxes are known.

    Exit code 1 when a detector cannot be loaded, misplaces a box, mixes up left, right, above or
    below, or swaps red and blue.

    With --judge, a vision-language judge is asked about drawings whose truth is known.
    """
    if judge is not None and not was_given(context, "detectors"):
        _examine_judge(judge, pairs, run_dir, as_json, options)
        return
    refuse_given((*OF_JUDGES, "pairs", "run_dir", "judge"), "they examine a --judge alone")
    from t2i_spatial.stages.doctor import examine, format_examination

    found = examine(
        [given(DetectorSettings, options, detector=name) for name in dict.fromkeys(detectors)]
    )
    text = json.dumps(found.to_dict(), indent=2) if as_json else format_examination(found)
    click.echo(text)
    if not found.healthy:
        context.exit(1)


def _examine_judge(
    judge: str, pairs: int, run_dir: Path | None, as_json: bool, options: dict[str, Any]
) -> None:
    refuse_given(
        set(DetectorSettings.model_fields) - set(AskSettings.model_fields), "they are of detectors"
    )
    from t2i_spatial.judges.examination import as_text
    from t2i_spatial.run import Run
    from t2i_spatial.stages.judge_doctor import examine_judge, keep

    settings = given(AskSettings, options, judge=judge)
    run = None if run_dir is None else Run.open(run_dir)
    found, plan = examine_judge(settings, pairs=pairs)
    name = settings.answers_name
    if run is not None:
        keep(run, name, found, plan)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else as_text(name, found))
