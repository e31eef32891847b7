"""One POST, sent until it is answered or given up: retries, waits and adaptive concurrency.

What is retried: no connection, 408, 409, 425, 429 and 5xx. A 500, a connection that breaks and a
reply that never comes are tried three times at most: a server that cannot read one image does that,
too. `Retry-After` is honoured; waits grow exponentially with full jitter. 400, 413 and 422 are
about the one request; 401, 403, 404 and the like about all.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2i_spatial.errors import T2ISpatialError

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
OF_THE_REQUEST = frozenset({400, 413, 415, 422, 500})
TRIES_OF_500 = 3


class JudgeError(T2ISpatialError):
    """A judge cannot be asked at all: it is not there, or refuses everything."""


@dataclass(frozen=True)
class Patience:
    """How long to go on with one request.

    Attributes:
        timeout: seconds for one try.
        total: seconds for all tries of a request.
        longest: seconds of one wait at most.
        first: seconds of the first wait at most.
        silent: seconds to go on while there is nobody at all.
    """

    timeout: float = 120.0
    total: float = 600.0
    longest: float = 60.0
    first: float = 0.5
    silent: float = 120.0


class Limit:
    """How many requests may be under way: halved when the server asks for less, else grown by one.

    Attributes:
        now: requests allowed at present.
    """

    def __init__(self, start: int = 8, most: int = 64) -> None:
        self.now = min(start, most)
        self.most = most
        self._busy = 0
        self._good = 0
        self._halved = 0.0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._busy < self.now)
            self._busy += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._changed:
            self._busy -= 1
            # as many as there is room for: waking all of thousands each time costs more than asking
            self._changed.notify(max(1, self.now - self._busy))

    def served(self) -> None:
        """A request was answered: after as many as are allowed, one more is."""
        self._good += 1
        if self._good >= self.now and self.now < self.most:
            self.now, self._good = self.now + 1, 0

    def refused(self, sent: float) -> None:
        """The server wants less; requests sent before the last halving do not halve again."""
        if sent >= self._halved:
            self.now, self._good, self._halved = max(1, self.now // 2), 0, time.monotonic()


@dataclass(frozen=True)
class Failed:
    """A request that got no usable answer, though others may."""

    reason: str


async def post(
    http: Any,
    path: str,
    body: Mapping[str, Any],
    limit: Limit,
    patience: Patience,
    *,
    hint: str = "",
) -> dict[str, Any] | Failed:
    """The JSON object that the server answers, or why this request has none.

    Args:
        http: an `httpx.AsyncClient` with a base URL.
        hint: what may help when the server does not let anybody in.

    Raises:
        JudgeError: the server is not there, or refuses every request.
    """
    import httpx

    begun = time.monotonic()
    attempt = failures = 0
    while True:
        wait = random.uniform(0, min(patience.longest, patience.first * 2**attempt))
        sent, nobody = time.monotonic(), False
        try:
            async with limit:
                sent = time.monotonic()
                response = await http.post(path, json=body, timeout=patience.timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            problem = f"{_address(http)} does not answer: {_named(error)}"
            nobody = True
        except httpx.TransportError as error:
            problem = f"no reply: {_named(error)}"
            failures += 1
        else:
            status = response.status_code
            if status < 400:
                limit.served()
                return _object(response)
            problem = f"{status}: {said(response)}"
            if status == 429:
                limit.refused(sent)
            failures += status == 500
            if status not in RETRIED and status not in OF_THE_REQUEST:
                told = hint if status in (401, 403) else ""
                raise JudgeError(f"{_address(http)}{path} refuses: {problem}{told}")
            if status not in RETRIED:
                return Failed(problem)
            wait = max(wait, _retry_after(response, patience.longest))
        if failures >= TRIES_OF_500:
            return Failed(problem)
        attempt += 1
        most = min(patience.total, patience.silent) if nobody else patience.total
        if time.monotonic() + wait > begun + most:
            if nobody:
                raise JudgeError(problem)
            return Failed(f"given up after {attempt} tries; last: {problem}")
        await asyncio.sleep(wait)


def _address(http: Any) -> str:
    return str(http.base_url).rstrip("/")


def _named(error: Exception) -> str:
    return f"{type(error).__name__} {error}".rstrip()


def _object(response: Any) -> dict[str, Any] | Failed:
    try:
        page = response.json()
    except ValueError:
        return Failed(f"the reply is no JSON: {_short(response.text)}")
    return page if isinstance(page, dict) else Failed("the reply is no JSON object")


def said(response: Any) -> str:
    """What a server says of an error, as JSON or as plain text."""
    try:
        page = response.json()
    except ValueError:
        return _short(response.text)
    error = page.get("error", page.get("detail", page)) if isinstance(page, dict) else page
    return _short(str(error.get("message", error) if isinstance(error, dict) else error))


def _short(text: str) -> str:
    line = " ".join(text.split()) or "(empty)"
    return line if len(line) <= 200 else f"{line[:197]}..."


def _retry_after(response: Any, longest: float) -> float:
    given = response.headers.get("retry-after", "")
    try:
        seconds = float(given)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(given)
            seconds = date.timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(longest, max(0.0, seconds))
