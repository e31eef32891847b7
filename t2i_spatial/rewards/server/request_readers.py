"""Threads in which requests are read: one that takes long holds nobody else up.

Reading means JSON, multipart and the parsing of prompts. It counts towards the request's timeout,
and ends with the next item when nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.rewards.server.guard import Refused

T = TypeVar("T")

THREADS = 4

_stop: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("stop", default=None)


class Abandoned(T2ISpatialError):
    """Nobody waits for this request any more."""


def while_wanted(items: Iterable[T]) -> Iterator[T]:
    """The items, as long as somebody waits for what is made of them.

    Raises:
        Abandoned: nobody does.
    """
    stop = _stop.get()
    for item in items:
        if stop is not None and stop.is_set():
            raise Abandoned("nobody waits for this request any more")
        yield item


class RequestReaders:
    """A few threads of their own, so that answers and other requests never wait for a reader."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request-reader")

    async def read(
        self, request: Request, until: float, function: Callable[..., T], *arguments: Any
    ) -> T:
        """What `function` makes of a request in a thread.

        Args:
            until: time (`time.monotonic`) at which the request is given up.

        Raises:
            Refused: 504 not read in time, 400 the client is gone; the thread then stops at its
                next item (`while_wanted`).
        """
        stop = threading.Event()
        context = contextvars.copy_context()
        context.run(_stop.set, stop)
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(
            self._threads, functools.partial(context.run, function, *arguments)
        )
        gone = asyncio.create_task(until_gone(request))
        waiting: set[asyncio.Future[Any]] = {reading, gone}
        try:
            left = max(0.0, until - time.monotonic())
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return await reading
            if gone.done():
                raise Refused(400, "the client left before its request was read")
            raise Refused(504, "the request was not read in time; send fewer or shorter prompts")
        finally:
            stop.set()
            reading.cancel()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


async def until_gone(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
