"""Progress on stderr: done/total, rate, ETA. A bar on a terminal, else a line now and then."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

EVERY = 30.0
"""Seconds between two progress lines where there is no terminal."""

_quiet = False
_verbose = False


def set_quiet(quiet: bool) -> None:
    """Switch all progress and notes off (`-q`) or back on."""
    global _quiet
    _quiet = quiet


def set_verbose(verbose: bool) -> None:
    """Show messages of libraries, and where errors came from (`-v`), or no longer."""
    global _verbose
    _verbose = verbose
    # peft loads it where it is installed; it then warns of kernels that nobody asked for
    logging.getLogger("bitsandbytes").setLevel(logging.NOTSET if verbose else logging.ERROR)
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")


def is_verbose() -> bool:
    """Whether `-v` was given."""
    return _verbose


def progress_bar(total: int, what: str, unit: str = "img", done: int = 0) -> Any:
    """A tqdm bar; `update(n)` and `close()` as there. `done` is what an earlier run finished."""
    from tqdm.auto import tqdm

    forced = os.environ.get("T2I_SPATIAL_PROGRESS") == "1"
    if not (forced or _quiet or sys.stderr.isatty()):
        return Lines(total, what, unit, done)
    return tqdm(
        total=total,
        initial=done,
        desc=what,
        unit=unit,
        disable=_quiet,
        file=sys.stderr,
        leave=True,
        dynamic_ncols=True,
        smoothing=0.1,
    )


class Lines:
    """Progress for a log: one line every `EVERY` seconds, none for what is done before that."""

    def __init__(self, total: int, what: str, unit: str, done: int) -> None:
        self.total, self.what, self.unit, self.n = total, what, unit, done
        self._begun = self._told = time.monotonic()
        self._before = done
        self._more = ""

    def set_postfix(self, **values: object) -> None:
        """What else to tell, as tqdm does."""
        self._more = "".join(f", {name} {value}" for name, value in values.items())

    def update(self, n: int = 1) -> None:
        """Count `n` more as done."""
        self.n += n
        now = time.monotonic()
        if now - self._told < EVERY:
            return
        self._told = now
        rate = (self.n - self._before) / (now - self._begun)
        left = "" if rate <= 0 else f", {_duration((self.total - self.n) / rate)} left"
        note(
            f"{self.what}: {self.n:,} of {self.total:,} {self.unit} "
            f"({self.n / max(1, self.total):.0%}), {rate:.2g} {self.unit}/s{left}{self._more}"
        )

    def close(self) -> None:
        """Nothing: there is no bar to leave behind."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _duration(seconds: float) -> str:
    """Rounded for a person.

    >>> _duration(50), _duration(400), _duration(90_000)
    ('50 s', '7 min', '25.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def note(message: str) -> None:
    """One line for a person, on stderr; nothing with `-q`."""
    if not _quiet:
        print(message, file=sys.stderr, flush=True)
