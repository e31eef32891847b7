"""The one way in which stages have their batches done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t2i_spatial.engines.base import Done, Engine, Work, Workers
from t2i_spatial.engines.local import Local
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.jobs import DoneElsewhere, JobDone
from t2i_spatial.progress import note, progress_bar
from t2i_spatial.run import Run


def run_batches(
    run: Run,
    stage: str,
    batches: Sequence[Sequence[Any]],
    workers: Workers,
    *,
    engine: Engine | None = None,
    devices: Sequence[str] = ("cpu",),
    unit: str = "img",
    enough: Callable[[Mapping[str, int]], bool] | None = None,
) -> None:
    """Do every batch that has no shard yet; each finished one becomes a shard of `stage`.

    The plan (`batches`) must be the same on every call for a run: batch k is shard k. Workers are
    made only when something is left to do. Unless one worker lives in this process, `workers` and
    the batches must be picklable.

    Args:
        engine: where the workers live; by default here.
        devices: as `engine.devices` named them.
        enough: told what all workers have counted, whether to hand out no further batches.

    Raises:
        T2ISpatialError: what a worker raised, wherever it lives. Finished batches stay.
        JobDone: the share of this engine is done, and others are not.
    """
    engine = engine or Local()
    shards = run.shards(stage)
    shards.drop_broken()
    if engine.job is not None:
        run.share_out(stage, engine.job[1], len(batches))
    finished = shards.finished()
    pending = [(k, batch) for k, batch in enumerate(batches) if k not in finished]
    if pending:
        with run.sharing():
            work = Work(stage, shards, pending, workers, tuple(devices), enough)
            _watch(engine, work, sum(len(batch) for batch in batches), unit)
        if engine.job is not None and run.is_finished(stage):
            raise DoneElsewhere
        if not work.is_enough and (left := sorted({k for k, _ in pending} - shards.finished())):
            raise _unfinished(stage, engine, left, len(batches))


def _watch(engine: Engine, work: Work, total: int, unit: str) -> None:
    """Have it done, and tell how far it is."""
    done = total - sum(len(batch) for _, batch in work.batches)
    with progress_bar(total, work.stage, unit, done) as bar:
        pace = _Pace(unit)
        for one in engine.run(work):
            pace.add(one)
            if one.other:
                note(
                    f"{work.stage}: batch {one.number + 1} was finished twice with different "
                    f"content (the second time on {one.node}); the first is kept"
                )
            told = {name: f"{value:,}" for name, value in work.total.items() if value}
            bar.set_postfix(**told, **pace.told())
            bar.update(one.items)


def _unfinished(stage: str, engine: Engine, left: Sequence[int], batches: int) -> T2ISpatialError:
    if engine.job is None:
        return T2ISpatialError(
            f"{stage}: {len(left)} batches have no rows; the same command goes on with them"
        )
    number, count = engine.job
    others = [f"{k}/{count}" for k in sorted({k % count + 1 for k in left})]
    return JobDone(
        f"{stage}: shard {number}/{count} is done, {batches - len(left):,} of {batches:,} batches "
        f"of the stage are; still to come: --shard {', '.join(others)}"
    )


class _Pace:
    """Items per second of every node, once there are several."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.begun = time.monotonic()
        self.items: dict[str, int] = {}

    def add(self, done: Done) -> None:
        self.items[done.node] = self.items.get(done.node, 0) + done.items

    def told(self) -> dict[str, str]:
        if len(self.items) < 2:
            return {}
        seconds = max(time.monotonic() - self.begun, 1e-9)
        return {
            node: f"{count / seconds:.2g} {self.unit}/s"
            for node, count in sorted(self.items.items())
        }
