"""Progress on stderr: done/total, rate, ETA. Quiet when stderr is no terminal or with `-q`."""

from __future__ import annotations

import os
import sys
from typing import Any

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Switch all progress bars off (`-q`) or back on."""
    global _quiet
    _quiet = quiet


def progress_bar(total: int, what: str, unit: str = "img", done: int = 0) -> Any:
    """A tqdm bar; `update(n)` and `close()` as there. `done` is what an earlier run finished."""
    from tqdm.auto import tqdm

    forced = os.environ.get("T2I_SPATIAL_PROGRESS") == "1"
    disable = _quiet or not (forced or sys.stderr.isatty())
    return tqdm(
        total=total,
        initial=done,
        desc=what,
        unit=unit,
        disable=disable,
        file=sys.stderr,
        leave=True,
        dynamic_ncols=True,
        smoothing=0.1,
    )


def note(message: str) -> None:
    """One line for a person, on stderr; nothing with `-q`."""
    if not _quiet:
        print(message, file=sys.stderr, flush=True)
