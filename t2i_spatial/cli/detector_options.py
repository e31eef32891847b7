"""Options that say which detector and how it is asked, shared by the commands that load one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--detector",
        default="bundled",
        help="'bundled', a hub id, a local folder, 'backend:source' or 'precomputed:FILE'.",
    ),
    click.option("--revision", help="Commit, tag or branch of a hub id."),
    click.option(
        "--threshold",
        type=float,
        help="Keep boxes with a higher score.  [default: the detector's own]",
    ),
    click.option(
        "--query-template",
        help="Text asked for a name, with {name} in it.  [default: the detector's]",
    ),
    click.option(
        "--query-mode",
        type=click.Choice(["together", "each"]),
        default="together",
        help="All names of a prompt compete for a box, or each is asked on its own.",
    ),
    click.option(
        "--nms", type=float, help="Drop a box that overlaps a better one of its name more."
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        default="float32",
        help="Precision of matrix products; weights stay float32.",
    ),
    click.option(
        "--compile", is_flag=True, help="Compile the backbone (pays off for many images)."
    ),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=lambda _context, _parameter, value: _mapping(value),
        help="Setting that only this backend knows (repeatable).",
    ),
)


def detector_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; their values have the names of `detectors.resolve_detector`'s parameters."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _mapping(entries: Sequence[str]) -> dict[str, str]:
    if wrong := [entry for entry in entries if "=" not in entry]:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE")
    return dict(entry.split("=", 1) for entry in entries)
