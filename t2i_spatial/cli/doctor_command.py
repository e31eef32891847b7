"""`t2i-spatial doctor`: is this installation fit to judge images?"""

from __future__ import annotations

import json

import click


@click.command("doctor")
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    default=("bundled",),
    help="Detector to try on known drawings; may be repeated.",
)
@click.option("--device", default="auto", help="auto, cpu, cuda:0 ...")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.pass_context
def command(context: click.Context, detectors: tuple[str, ...], device: str, as_json: bool) -> None:
    """Check the installation and let detectors find drawings whose boxes are known.

    Exit code 1 when a detector cannot be loaded, misplaces a box, mixes up left, right, above or
    below, or swaps red and blue.
    """
    from t2i_spatial.stages.doctor import examine, format_examination

    found = examine(detectors, device=device)
    text = json.dumps(found.to_dict(), indent=2) if as_json else format_examination(found)
    click.echo(text)
    if not found.healthy:
        context.exit(1)
