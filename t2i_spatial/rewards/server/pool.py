"""Batches across requests, one worker process per device, and nothing lost without an answer."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import math
import multiprocessing
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from t2i_spatial.errors import ModelLoadError, T2ISpatialError
from t2i_spatial.rewards.server.monitoring import Monitoring
from t2i_spatial.rewards.server.server_settings import ServerSettings
from t2i_spatial.rewards.server.worker import AHEAD, Job, worker_main
from t2i_spatial.scoring.core import ItemScore

LOG = logging.getLogger("t2i_spatial.serve")
MAX_BACKOFF = 30.0


class Overloaded(T2ISpatialError):
    """The queue is full; try again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WorkerLost(T2ISpatialError):
    """The worker died with the images in its hands; the request may be sent again."""


@dataclass(eq=False)
class _Item:
    job: Job
    future: asyncio.Future[ItemScore]


class _Worker:
    """A running process and what it is working on."""

    def __init__(self, settings: ServerSettings, device: str, events: asyncio.Queue[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=worker_main, args=(theirs, settings, device), daemon=True
        )
        self.process.start()
        theirs.close()
        self.batches: dict[int, list[_Item]] = {}
        """What it has been handed and not answered, in order."""
        self.begun = 0.0
        """When it began with the first of them: at once if it was idle, else when it had answered
        the one before."""
        loop = asyncio.get_running_loop()
        self._listener = threading.Thread(target=self._listen, args=(loop, events), daemon=True)
        self._listener.start()

    def _listen(self, loop: asyncio.AbstractEventLoop, events: asyncio.Queue[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone at shutdown
            try:
                while True:
                    message = self.connection.recv()
                    loop.call_soon_threadsafe(events.put_nowait, message)
            except (EOFError, OSError):
                pass
            finally:
                loop.call_soon_threadsafe(events.put_nowait, None)

    def stop(self) -> None:
        """Kill the process; the connection is closed when nobody reads from it any more."""
        self.process.kill()
        self.process.join(5)
        self._listener.join(5)
        self.connection.close()


class Pool:
    """The queue and its workers.

    `submit` from the event loop; every future it returns gets a score, `WorkerLost`, or is
    cancelled by the caller.
    """

    def __init__(
        self, settings: ServerSettings, devices: Sequence[str], monitoring: Monitoring
    ) -> None:
        self.settings = settings
        self.devices = tuple(devices)
        self.monitoring = monitoring
        self.ready: set[int] = set()
        self.workers: dict[int, _Worker] = {}
        self.restarts = 0
        self._waiting: collections.OrderedDict[asyncio.Future[ItemScore], _Item] = (
            collections.OrderedDict()
        )
        self._held = 0
        self._news = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._rate = 0.0
        self._number = 0

    async def start(self) -> None:
        """Start all workers and wait until they have loaded their models.

        Raises:
            ModelLoadError: one of them cannot.
        """
        started = [asyncio.get_running_loop().create_future() for _ in self.devices]
        self._tasks = [
            asyncio.create_task(self._run(slot, future)) for slot, future in enumerate(started)
        ]
        try:
            await asyncio.gather(*started)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop the workers; what is still queued is answered `WorkerLost`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail(list(self._waiting.values()), "the server is stopping")
        self._waiting.clear()

    @property
    def queued(self) -> int:
        """Images accepted and not yet answered."""
        return self._held

    def retry_after(self) -> int:
        """Seconds until the queue should have room, from the recent speed."""
        rate = self._rate * max(1, len(self.ready))
        seconds = self._held / rate if rate else 1.0
        return min(60, max(1, math.ceil(seconds / 2)))

    async def submit(self, jobs: Sequence[Job]) -> list[asyncio.Future[ItemScore]]:
        """Queue the images of one request, all or none.

        Raises:
            Overloaded: there is no room for them.
        """
        if self._held + len(jobs) > self.settings.max_queue:
            raise Overloaded(
                f"{self._held} images are waiting and {len(jobs)} more do not fit",
                self.retry_after(),
            )
        loop = asyncio.get_running_loop()
        items = [_Item(job, loop.create_future()) for job in jobs]
        self._held += len(items)
        for item in items:
            item.future.add_done_callback(self._release)
            self._waiting[item.future] = item
        self.monitoring.queue.set(self._held)
        async with self._news:
            self._news.notify_all()
        return [item.future for item in items]

    def _release(self, future: asyncio.Future[ItemScore]) -> None:
        self._waiting.pop(future, None)  # its client is gone
        self._held -= 1
        self.monitoring.queue.set(self._held)

    async def _run(self, slot: int, started: asyncio.Future[None]) -> None:
        """Keep one worker alive."""
        device = self.devices[slot]
        backoff = 0.5
        while True:
            begun = time.monotonic()
            try:
                reason = await self._live(slot, started)
            except OSError as error:  # no process or pipe to be had
                reason = f"could not be started ({error})"
            if not started.done():
                started.set_exception(ModelLoadError(f"the worker on {device} {reason}"))
                return
            self.restarts += 1
            self.monitoring.restarts.inc()
            if time.monotonic() - begun > 2 * MAX_BACKOFF:
                backoff = 0.5
            LOG.warning("the worker on %s %s; a new one starts in %.1f s", device, reason, backoff)
            await asyncio.sleep(backoff)
            backoff = min(MAX_BACKOFF, 2 * backoff)

    async def _live(self, slot: int, started: asyncio.Future[None]) -> str:
        """The life of one worker; returns how it ended."""
        events: asyncio.Queue[Any] = asyncio.Queue()
        worker = self.workers[slot] = _Worker(self.settings, self.devices[slot], events)
        feeding: asyncio.Task[None] | None = None
        try:
            while (message := await self._next(worker, events)) is not None:
                kind, content = message
                if kind == "failed":
                    return f"failed: {content}"
                if kind == "ready":
                    self.ready.add(slot)
                    self.monitoring.ready.set(len(self.ready))
                    feeding = asyncio.create_task(self._feed(worker))
                    if not started.done():
                        started.set_result(None)
                else:
                    await self._answer(worker, kind, content)
            return "died" if started.done() else "died while loading"
        finally:
            self.ready.discard(slot)
            self.monitoring.ready.set(len(self.ready))
            if feeding is not None:
                feeding.cancel()
            for items in worker.batches.values():
                self._fail(items, "the worker that held this image died; send it again")
            await asyncio.to_thread(worker.stop)

    async def _next(self, worker: _Worker, events: asyncio.Queue[Any]) -> Any:
        """The worker's next message; `None` when it is dead or stuck in a batch."""
        while True:
            try:
                return await asyncio.wait_for(events.get(), timeout=1.0)
            except TimeoutError:
                if worker.batches and time.monotonic() - worker.begun > self.settings.timeout:
                    LOG.warning(
                        "a batch took more than %.0f s; its worker is killed", self.settings.timeout
                    )
                    return None

    async def _feed(self, worker: _Worker) -> None:
        """Hand batches to a worker: a partial one only when it would otherwise be idle."""
        while True:
            async with self._news:
                await self._news.wait_for(lambda: self._may_send(worker))
            if not worker.batches and len(self._waiting) < self.settings.max_batch:
                await asyncio.sleep(self.settings.max_wait)
            batch = self._take()
            if not batch:
                continue
            self._number += 1
            if not worker.batches:
                worker.begun = time.monotonic()
            worker.batches[self._number] = batch
            self.monitoring.batch.observe(len(batch))
            message = (self._number, [item.job for item in batch])
            try:
                await asyncio.get_running_loop().run_in_executor(
                    None, worker.connection.send, message
                )
            except (OSError, ValueError):
                return  # dead: the listener sees it too, and its batches are answered there
            except Exception as error:  # the batch cannot be sent; others can
                LOG.exception("a batch could not be handed to its worker")
                del worker.batches[self._number]
                self._fail(batch, f"could not be handed to a worker ({type(error).__name__})")

    def _may_send(self, worker: _Worker) -> bool:
        if not self._waiting or len(worker.batches) >= AHEAD:
            return False
        return not worker.batches or len(self._waiting) >= self.settings.max_batch

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        while self._waiting and len(batch) < self.settings.max_batch:
            future, item = self._waiting.popitem(last=False)
            if not future.done():
                batch.append(item)
        return batch

    async def _answer(self, worker: _Worker, number: int, scores: Sequence[ItemScore]) -> None:
        items = worker.batches.pop(number)
        now = time.monotonic()
        speed = len(items) / max(1e-3, now - worker.begun)
        worker.begun = now
        self._rate = speed if not self._rate else 0.8 * self._rate + 0.2 * speed
        for item, score in zip(items, scores, strict=True):
            self.monitoring.items.labels(score.status).inc()
            if not item.future.done():
                item.future.set_result(score)
        async with self._news:
            self._news.notify_all()

    def _fail(self, items: Sequence[_Item], reason: str) -> None:
        for item in items:
            if not item.future.done():
                item.future.set_exception(WorkerLost(reason))
