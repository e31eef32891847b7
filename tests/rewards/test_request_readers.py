"""Reading requests: in threads of its own, within the timeout, and no longer than wanted."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from t2i_spatial.rewards.server import bodies, request_readers
from t2i_spatial.rewards.server.guard import Refused
from t2i_spatial.rewards.server.request_readers import RequestReaders, while_wanted
from tests.rewards.conftest import RunningServer, encoded, item, scene_image


class Client:
    """A request whose client leaves when told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


class Slow:
    """A reader of items that goes on when the test says so."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.ended = (threading.Event() for _ in range(3))
        self.seen: list[int] = []

    def __call__(self) -> list[int]:
        try:
            for number in while_wanted(range(5)):
                self.seen.append(number)
                self.begun.set()
                assert self.go_on.wait(60)
            return self.seen
        finally:
            self.ended.set()


def test_what_is_read_comes_back_and_errors_too():
    async def main() -> None:
        readers, client = RequestReaders(1), Client()
        slow = Slow()
        slow.go_on.set()
        until = time.monotonic() + 60
        assert await readers.read(client, until, slow) == [0, 1, 2, 3, 4]
        with pytest.raises(ZeroDivisionError):
            await readers.read(client, until, lambda: 1 // 0)

    asyncio.run(main())


@pytest.mark.parametrize("why", ["timeout", "left", "gone before it began"])
def test_reading_ends_with_the_next_item_when_nobody_waits(why):
    async def main() -> None:
        readers, client, slow = RequestReaders(1), Client(), Slow()
        first = asyncio.create_task(readers.read(client, time.monotonic() + 60, slow))
        await asyncio.to_thread(slow.begun.wait, 60)
        if why == "timeout":
            late = Slow()
            with pytest.raises(Refused, match="not read in time") as refused:
                await readers.read(Client(), time.monotonic() + 0.05, late)
            assert refused.value.code == 504
            assert late.seen == [] and not late.begun.is_set()
        if why == "gone before it began":
            other, waiting = Client(), Slow()
            second = asyncio.create_task(readers.read(other, time.monotonic() + 60, waiting))
            await asyncio.sleep(0)
            other.left.set()
            with pytest.raises(Refused, match="the client left"):
                await second
        client.left.set()
        with pytest.raises(Refused, match="the client left") as refused:
            await first
        assert refused.value.code == 400
        slow.go_on.set()
        assert await asyncio.to_thread(slow.ended.wait, 60)
        assert slow.seen == [0]
        if why == "gone before it began":
            slow.go_on.set()
            assert await readers.read(Client(), time.monotonic() + 60, lambda: 7) == 7
            assert waiting.seen == []

    asyncio.run(main())


def test_slow_prompts_hold_no_other_request(server: RunningServer, http, monkeypatch):
    """While a prompt is being parsed, pages are served; when the client is gone, parsing ends."""
    begun, go_on, ended = (threading.Event() for _ in range(3))
    parsed, unwanted = [], []
    whole = bodies.as_prompt

    def slow(asked: Any, *rest: Any) -> Any:
        if isinstance(asked, str) and asked.startswith("slow"):
            parsed.append(asked)
            unwanted.append(request_readers._stop.get())
            begun.set()
            assert go_on.wait(60)
        return whole(asked, *rest)

    def pairs(items: Any) -> Any:
        try:
            yield from while_wanted(items)
        finally:
            if go_on.is_set():  # it is the slow one that ends
                ended.set()

    monkeypatch.setattr(bodies, "as_prompt", slow)
    monkeypatch.setattr(bodies, "while_wanted", pairs)
    picture = encoded(scene_image("cat", "left of", "dog"))
    wire = http.build_request(
        "POST", "/score", json={"items": [item(picture, f"slow cat {i}") for i in range(3)]}
    )
    head = f"POST /score HTTP/1.1\r\nHost: {http.base_url.host}:{http.base_url.port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(wire.content)}\r\n\r\n"
    with socket.create_connection((http.base_url.host, http.base_url.port)) as connection:
        connection.sendall(head.encode() + wire.content)
        assert begun.wait(60)
        assert http.get("/health").status_code == 200
        answer = http.post("/score", json={"items": [item(picture)]})
        assert answer.status_code == 200
    assert unwanted[0].wait(60)
    go_on.set()
    assert ended.wait(60)
    assert parsed == ["slow cat 0"]


def test_small_answers_are_sent_at_once(server: RunningServer, http):
    assert http.get("/health").status_code == 200
    (connection, *_) = list(server.server.server_state.connections)
    end = connection.transport.get_extra_info("socket")
    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_texts_longer_than_the_limit_are_refused_before_they_are_parsed(http):
    picture = encoded(scene_image("cat", "left of", "dog"))
    long = "a cat left of " * 2000
    answer = http.post("/score", json={"items": [item(picture, long), item(picture)]})
    assert answer.status_code == 422
    first, second = answer.json()["items"]
    assert first["status"] == "bad_request" and "4000" in first["reason"]
    assert second["status"] == "scored"
