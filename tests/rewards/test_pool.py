"""The queue without its workers."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from t2i_spatial.detectors import resolve_detector
from t2i_spatial.errors import ModelLoadError
from t2i_spatial.rewards.server import pool as pool_module
from t2i_spatial.rewards.server.monitoring import Monitoring
from t2i_spatial.rewards.server.pool import Overloaded, Pool, WorkerLost
from t2i_spatial.rewards.server.server_settings import ServerSettings
from t2i_spatial.rewards.server.worker import Job
from t2i_spatial.scoring.core import ItemScore
from t2i_spatial.scoring.requests import as_prompt

JOB = Job(b"", as_prompt("a cat"), {"spatial": 1.0})


def make_pool(**settings: object) -> Pool:
    chosen = ServerSettings(detector=resolve_detector("bundled"), **settings)
    return Pool(chosen, ["cpu"], Monitoring())


def test_pictures_of_clients_that_left_are_not_kept():
    async def run() -> None:
        pool = make_pool(max_queue=8, max_images=8)
        for _ in range(100):
            for future in await pool.submit([JOB] * 8):
                future.cancel()
            await asyncio.sleep(0)
        assert pool.queued == 0 and not pool._waiting
        await pool.submit([JOB] * 8)
        with pytest.raises(Overloaded):
            await pool.submit([JOB])

    asyncio.run(run())


def test_the_clock_of_a_batch_starts_when_the_one_before_is_answered():
    async def run() -> None:
        pool = make_pool(timeout=1.0)
        long_ago = time.monotonic() - 100
        worker = SimpleNamespace(batches={1: [], 2: []}, begun=long_ago)
        await pool._answer(worker, 1, [])
        assert worker.begun > long_ago + 99
        events: asyncio.Queue[object] = asyncio.Queue()
        events.put_nowait((2, []))
        assert await pool._next(worker, events) == (2, [])
        worker.begun = long_ago
        assert await pool._next(worker, events) is None  # stuck: it is killed

    asyncio.run(run())


def test_a_batch_that_cannot_be_sent_costs_itself_only(monkeypatch):
    async def run() -> None:
        pool = make_pool(max_batch=1)
        sent = []

        def send(message: tuple[int, list[Job]]) -> None:
            if len(sent) == 0:
                sent.append(None)
                raise RecursionError("nested")
            sent.append(message)

        worker = SimpleNamespace(batches={}, begun=0.0, connection=SimpleNamespace(send=send))
        feeding = asyncio.create_task(pool._feed(worker))
        first, second = await pool.submit([JOB] * 2)
        with pytest.raises(WorkerLost, match="could not be handed to a worker"):
            await asyncio.wait_for(first, 5)
        while len(sent) < 2:
            await asyncio.sleep(0.01)
        assert not second.done() and len(worker.batches) == 1
        feeding.cancel()

    asyncio.run(run())


def test_a_worker_that_cannot_be_started_is_told(monkeypatch):
    def no_process(*_: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(pool_module, "_Worker", no_process)
    with pytest.raises(ModelLoadError, match="cpu could not be started"):
        asyncio.run(make_pool().start())


def test_answers_reach_those_who_still_wait():
    async def run() -> None:
        pool = make_pool()
        stays, leaves = await pool.submit([JOB] * 2)
        batch = pool._take()
        leaves.cancel()
        worker = SimpleNamespace(batches={1: batch}, begun=time.monotonic())
        await pool._answer(worker, 1, [ItemScore("scored", "", 1.0)] * 2)
        assert (await stays).reward == 1.0
        await asyncio.sleep(0)
        assert pool.queued == 0

    asyncio.run(run())
