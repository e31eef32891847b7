"""`t2i-spatial doctor`: is this installation fit to judge images?"""

from __future__ import annotations

import json
from typing import Any

import click

from t2i_spatial.cli.options import Command, as_json_option, given, settings_options
from t2i_spatial.stages.stage_settings import DetectorSettings


@click.command("doctor", cls=Command)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    default=("bundled",),
    help="Detector to try on known drawings; may be repeated.",
)
@settings_options(DetectorSettings, without=("detector",))
@as_json_option
@click.pass_context
def command(
    context: click.Context, /, detectors: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Check the installation and let detectors find drawings whose boxes are known.

    Exit code 1 when a detector cannot be loaded, misplaces a box, mixes up left, right, above or
    below, or swaps red and blue.
    """
    from t2i_spatial.stages.doctor import examine, format_examination

    found = examine(
        [given(DetectorSettings, options, detector=name) for name in dict.fromkeys(detectors)]
    )
    text = json.dumps(found.to_dict(), indent=2) if as_json else format_examination(found)
    click.echo(text)
    if not found.healthy:
        context.exit(1)
