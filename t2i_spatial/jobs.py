"""Jobs that make a stage of a run together: each does its share of the batches.

Job i of n holds a lock of its own, so that no other is the same one, and the lock of the run only
while it writes what all share. A command that writes alone is refused while any job is at work.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.locks import alone, is_held

FOLDER = ".jobs"
WAIT = 3600.0
"""Seconds that one job waits for others to begin or complete a stage."""

Job = tuple[int, int]
"""(i, n): the i-th of n, from 1."""


class JobDone(T2ISpatialError):
    """The share of a job is done, and others are not: no failure, but the stage goes no further."""

    exit_code = 0


class DoneElsewhere(Exception):
    """Another job has completed the stage meanwhile."""


def being(run: Path, job: Job) -> contextlib.AbstractContextManager[object]:
    """Be this job of a run.

    Raises:
        InputError: another process is, or nothing can be written.
    """
    return alone(run / FOLDER, f"{job[0]}-of-{job[1]}.lock", f"job with --shard {job[0]}/{job[1]}")


def at_work(run: Path) -> list[str]:
    """The jobs of a run that are being done right now, as "3/16"."""
    locks = sorted((run / FOLDER).glob("*.lock"), key=lambda path: path.name)
    return [path.stem.replace("-of-", "/") for path in locks if is_held(path)]
