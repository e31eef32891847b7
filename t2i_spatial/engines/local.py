"""Run the batches of a stage on this machine, one worker per device, resuming where it stopped."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import polars as pl

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.progress import progress_bar
from t2i_spatial.run import Run


class Worker(Protocol):
    """Holds a loaded model on one device and turns one batch into the rows of its table.

    It may have `prefetch(batch)`, called with the batch that follows, and `facts()`, what the
    progress tells besides the count.
    """

    def __call__(self, batch: Any) -> pl.DataFrame:
        """The rows of one batch."""
        ...


def run_batches(
    run: Run,
    stage: str,
    batches: Sequence[Sequence[Any]],
    make_worker: Callable[[str], Worker],
    *,
    devices: Sequence[str] = ("cpu",),
    unit: str = "img",
) -> None:
    """Do every batch that has no shard yet; each finished one becomes a shard of `stage`.

    The plan (`batches`) must be the same on every call for a run: batch k is shard k. The worker
    is made only when something is left to do, once per device; with several devices each lives in
    its own process, so `make_worker` and the batches must then be picklable.

    Raises:
        T2ISpatialError: what a worker raised, also from another process. Finished batches stay.
    """
    run.shards(stage).drop_broken()
    finished = run.shards(stage).finished()
    pending = [(k, batch) for k, batch in enumerate(batches) if k not in finished]
    if not pending:
        return
    total = sum(len(batch) for batch in batches)
    done = total - sum(len(batch) for _, batch in pending)
    with progress_bar(total, stage, unit, done) as bar:
        if len(devices) == 1:
            worker = make_worker(devices[0])
            for position, (number, batch) in enumerate(pending):
                _prefetch(worker, pending[position : position + 2])
                run.shards(stage).write(number, worker(batch))
                if hasattr(worker, "facts"):
                    bar.set_postfix(**worker.facts())
                bar.update(len(batch))
        else:
            _run_processes(run, stage, pending, make_worker, devices, bar)


def _run_processes(
    run: Run,
    stage: str,
    pending: list[tuple[int, Sequence[Any]]],
    make_worker: Callable[[str], Worker],
    devices: Sequence[str],
    bar: Any,
) -> None:
    context = multiprocessing.get_context("spawn")
    tasks: Any = context.Queue()
    results: Any = context.Queue()
    for item in pending:
        tasks.put(item)
    for _ in devices:
        tasks.put(None)
    processes = [
        context.Process(target=_serve, args=(make_worker, device, tasks, results), daemon=True)
        for device in devices
    ]
    for process in processes:
        process.start()
    try:
        left = len(pending)
        while left:
            try:
                number, size, rows, error = results.get(timeout=1.0)
            except queue.Empty:
                dead = [p.exitcode for p in processes if p.exitcode not in (None, 0)]
                if dead:
                    raise T2ISpatialError(
                        f"{stage}: a worker process ended with exit code {dead[0]}; "
                        "finished batches are kept, the same command goes on from there"
                    ) from None
                continue
            if error is not None:
                raise error
            run.shards(stage).write(number, rows)
            bar.update(size)
            left -= 1
    finally:
        # else the exit of this process waits for somebody to read the batches that are left
        tasks.cancel_join_thread()
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _serve(make_worker: Callable[[str], Worker], device: str, tasks: Any, results: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        worker = make_worker(device)
        item = tasks.get()
        while item is not None:
            following = tasks.get()
            _prefetch(worker, [item] if following is None else [item, following])
            number, batch = item
            results.put((number, len(batch), worker(batch), None))
            item = following
    except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
        results.put((0, 0, None, _portable(error)))


def _prefetch(worker: Worker, items: Sequence[tuple[int, Sequence[Any]]]) -> None:
    """Let a worker that can (`prefetch(batch)`) read what comes next while it works."""
    if hasattr(worker, "prefetch"):
        for _, batch in items:
            worker.prefetch(batch)


def _portable(error: Exception) -> Exception:
    """Errors of ours travel between processes as they are, others as their traceback."""
    if isinstance(error, T2ISpatialError):
        return error
    return T2ISpatialError("".join(traceback.format_exception(error)).strip())
