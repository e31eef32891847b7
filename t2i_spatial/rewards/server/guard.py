"""The outermost layer: who may ask, how much may be sent, and one log line per request."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.rewards.server.monitoring import Monitoring
from t2i_spatial.rewards.server.server_settings import ServerSettings, is_loopback

LOG = logging.getLogger("t2i_spatial.serve")
OPEN = ("/health",)
"""Paths that need no token."""
PATHS = ("/", "/score", "/compute", "/health", "/version", "/metrics", "/openapi.json")
"""Paths that are counted one by one; whatever else is asked for counts as one."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Refused(T2ISpatialError):
    """A request that is answered with an HTTP code and a reason."""

    def __init__(self, code: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.retry_after = retry_after


class Guard:
    """ASGI middleware: host, token, log line, counters, and a last resort for errors."""

    def __init__(self, app: Any, settings: ServerSettings, monitoring: Monitoring) -> None:
        self.app = app
        self.settings = settings
        self.monitoring = monitoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, code = time.monotonic(), 0
        scope["note"] = ""

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        refusal = self._refusal(scope)
        try:
            if refusal is not None:
                scope["note"] = str(refusal)
                await answer(refusal, watched)
            else:
                await self.app(scope, receive, watched)
        except Exception as error:
            LOG.exception("unexpected error")
            scope["note"] = f"unexpected {type(error).__name__}"
            if not code:
                await answer(Refused(500, "unexpected error; see the log of the server"), watched)
        path = scope["path"] if scope["path"] in PATHS else "(unknown)"
        seconds = time.monotonic() - begun
        self.monitoring.requests.labels(path, code).inc()
        self.monitoring.seconds.labels(path).observe(seconds)
        level = logging.DEBUG if path in OPEN and code == 200 else logging.INFO
        LOG.log(
            level,
            "%s %s %s %.0f ms %s",
            scope["method"][:20],
            _one_line(scope["path"], 100),
            code,
            1e3 * seconds,
            _one_line(scope["note"], 300),
        )

    def _refusal(self, scope: Scope) -> Refused | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self.settings.local_only and not is_loopback(name.lower()):
            return Refused(421, "this server does not answer to that host name")
        if self.settings.token is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            wanted = b"Bearer " + self.settings.token.encode()
            if not hmac.compare_digest(given, wanted):
                return Refused(401, "a valid token is needed: Authorization: Bearer ...")
        return None


def _one_line(text: str, most: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:most])


async def answer(refusal: Refused, send: Send) -> None:
    """Send a refusal as JSON."""
    body = json.dumps({"error": str(refusal)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    await send({"type": "http.response.start", "status": refusal.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Intake:
    """Reads bodies within the limits: bytes per request, bytes in all, seconds."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.buffered = 0

    async def read(self, request: Request) -> bytes:
        """The whole body; `free` it when its request has been answered.

        Raises:
            Refused: 413 too large, 408 too slow, 503 when all bodies together are too large, 400
                when the client is gone.
        """
        limit = self.settings.max_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            raise Refused(413, f"the body has {int(announced):,} bytes; at most {limit:,}")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.settings.timeout):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > limit:
                        raise Refused(413, f"the body has more than {limit:,} bytes")
                    if self.buffered + len(chunk) > self.settings.max_buffered:
                        raise Refused(503, "too many bytes in all requests together", 1)
                    self.buffered += len(chunk)
                    chunks.append(chunk)
        except BaseException as error:
            self.buffered -= sum(map(len, chunks))
            if isinstance(error, TimeoutError):
                raise Refused(408, "the body did not arrive in time") from None
            raise
        return b"".join(chunks)

    def free(self, body: bytes) -> None:
        """Give the bytes of a body back."""
        self.buffered -= len(body)
