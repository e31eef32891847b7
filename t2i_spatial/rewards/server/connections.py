"""uvicorn's HTTP connection with an end: it would wait for ever for the head of a request."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 30.0
"""Time for the head of a request, and for an answer to be taken once it is sent. Connections that
rest between two requests are uvicorn's affair (`timeout_keep_alive`)."""


class Connection(H11Protocol):  # type: ignore[misc]
    """Looks at itself every `HEAD_SECONDS`."""

    def connection_made(self, transport: Any) -> None:
        """Begin to look, and send small answers at once.

        asyncio sets TCP_NODELAY only on sockets whose protocol is named, which those of a bound
        listener are not; head and body of an answer are two writes, and the second would wait
        40 ms for the client to acknowledge the first.
        """
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking."""
        self._look.cancel()
        super().connection_lost(exc)

    def _waits(self) -> bool:
        """No request is running, and none has been answered since the last byte came."""
        over = self.cycle is None or self.cycle.response_complete
        return over and self.timeout_keep_alive_task is None

    def _look_later(self) -> None:
        seen = self.cycle if self._waits() else self
        self._look: asyncio.TimerHandle = self.loop.call_later(HEAD_SECONDS, self._judge, seen)

    def _judge(self, seen: Any) -> None:
        if self.transport.is_closing() or (self._waits() and self.cycle is seen):
            self.transport.abort()
        else:
            self._look_later()
