from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.rewards import Client
from t2i_spatial.rewards.client import ServerError
from t2i_spatial.rewards.server import connections
from tests.limits import HANGS
from tests.rewards.conftest import RunningServer, encoded, item, scene_image

IMAGE = scene_image("cat", "left of", "dog")
GOOD = encoded(IMAGE)
ASKED = "a cat to the left of a dog"


def wait_until(condition, seconds: float = HANGS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def post_slowly(url: str, pause: float) -> None:
    """Start a request and leave in the middle."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            b"POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 1000\r\n\r\n" + b" " * 10
        )
        time.sleep(pause)


def leave_before_the_answer(url: str, count: int) -> None:
    address = urlsplit(url)
    body = httpx.Request("POST", url, json={"items": [item(GOOD)] * count}).content
    head = (
        "POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + body)
        time.sleep(0.02)


def test_clients_that_leave_take_nothing_with_them(server, http):
    post_slowly(server.url, 0.05)
    for _ in range(5):
        leave_before_the_answer(server.url, 16)
    assert http.post("/score", json={"items": [item(GOOD)]}).status_code == 200
    wait_until(lambda: server.pool.queued == 0)


def test_a_head_that_does_not_come_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    address = urlsplit(server.url)
    with httpx.Client(base_url=server.url, trust_env=False) as resting:
        assert resting.get("/health").status_code == 200
        for sent in (b"", b"POST /score HTTP/1.1\r\nhost: loc"):
            with socket.create_connection((address.hostname, address.port), 10) as connection:
                connection.sendall(sent)
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(1000) == b""
        # one that rests between two requests is left alone
        kept = resting._transport._pool.connections
        assert resting.get("/health").status_code == 200
        assert resting._transport._pool.connections == kept


def test_a_body_that_does_not_come_is_answered_408():
    server = RunningServer(timeout=2.0)
    try:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), 20) as connection:
            connection.sendall(
                b"POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{"
            )
            with connection.makefile("rb") as answer:
                page = answer.read()  # to the end: the server closes
        assert page.startswith(b"HTTP/1.1 408") and b"did not arrive in time" in page
    finally:
        server.stop()


def test_a_signal_to_a_worker_alone_does_not_end_it(server, http):
    restarts = server.pool.restarts
    os.kill(server.pool.workers[0].process.pid, signal.SIGTERM)
    assert http.post("/score", json={"items": [item(GOOD)]}).status_code == 200
    assert server.pool.restarts == restarts


def test_two_hundred_clients_at_once_are_all_answered(server):
    async def ask(client: httpx.AsyncClient, number: int) -> tuple[int, dict]:
        asked = {"items": [item(GOOD, id=str(number))]}
        while True:
            page = await client.post("/score", json=asked)
            if page.status_code != 503:
                return page.status_code, page.json()
            assert int(page.headers["retry-after"]) >= 1
            await asyncio.sleep(0.2)

    async def all_at_once() -> list[tuple[int, dict]]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(
            base_url=server.url, timeout=HANGS, limits=limits, trust_env=False
        ) as client:
            return await asyncio.gather(*(ask(client, n) for n in range(200)))

    answers = asyncio.run(all_at_once())
    assert [code for code, _ in answers] == [200] * 200
    assert [page["items"][0]["id"] for _, page in answers] == [str(n) for n in range(200)]
    rewards = [page["rewards"][0] for _, page in answers]
    assert max(rewards) - min(rewards) < 1e-5 and min(rewards) > 0.5


def test_a_full_queue_says_when_to_come_back(server):
    async def flood() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            base_url=server.url,
            timeout=HANGS,
            limits=httpx.Limits(max_connections=12),
            trust_env=False,
        ) as client:
            asked = {"items": [item(GOOD)] * 16}
            return await asyncio.gather(*(client.post("/score", json=asked) for _ in range(12)))

    answers = asyncio.run(flood())
    codes = {page.status_code for page in answers}
    assert codes == {200, 503}
    refused = next(page for page in answers if page.status_code == 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert "do not fit" in refused.json()["error"]
    assert all(r > 0.5 for p in answers if p.status_code == 200 for r in p.json()["rewards"])


def test_a_killed_worker_is_replaced_and_its_request_answered_503(server, http):
    restarts = server.pool.restarts
    worker = server.pool.workers[0].process.pid
    os.kill(worker, signal.SIGSTOP)  # else it may have answered before it is killed

    async def ask_and_kill() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=HANGS, trust_env=False) as client:
            asked = {"items": [item(GOOD)] * 16}
            waiting = [asyncio.create_task(client.post("/score", json=asked)) for _ in range(5)]
            while not server.pool.workers[0].batches:
                await asyncio.sleep(0.001)
            os.kill(worker, signal.SIGKILL)
            return await asyncio.gather(*waiting)

    answers = asyncio.run(ask_and_kill())
    lost = [page for page in answers if page.status_code == 503]
    assert lost and all("retry-after" in page.headers for page in lost)
    assert "send it again" in lost[0].json()["error"]
    # 504: on a busy machine the new worker may take longer to load than a request may take
    assert {page.status_code for page in answers} <= {200, 503, 504}
    wait_until(lambda: http.get("/health").status_code == 200)
    assert server.pool.restarts == restarts + 1
    assert http.post("/score", json={"items": [item(GOOD)]}).status_code == 200


def test_the_client_waits_for_a_new_worker(server):
    os.kill(server.pool.workers[0].process.pid, signal.SIGKILL)
    with Client(server.url, batch=4, protocols=["visor"]) as client:
        items = client([IMAGE] * 6, [ASKED] * 6)
        assert [i.status for i in items] == ["scored"] * 6
        assert items[0].reward > 0.5 and items[0].verdicts["visor"]["correct"]
        assert client.health()["status"] == "ok"
    wait_until(lambda: server.pool.ready)


def test_the_client_gives_up():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with Client(f"http://127.0.0.1:{closed.getsockname()[1]}", retries=1) as client:
            with pytest.raises(ServerError, match="after 2 tries"):
                client([IMAGE], [ASKED])
            with pytest.raises(ServerError, match="does not answer"):
                client.health()


def test_the_client_does_not_repeat_what_is_wrong_itself(server):
    wrong = Client(server.url, reward={"spacial": 1.0})
    with wrong as client, pytest.raises(InputError, match="did you mean"):
        client([IMAGE], [ASKED])
    with Client(server.url, image_format="WEBP") as client:
        items = client([IMAGE, IMAGE], [ASKED, {"include": [{"class": 5}]}])
        assert [i.status for i in items] == ["scored", "bad_request"]
        assert client([], []) == []


def test_the_client_sends_the_same_pixels_or_nearly(server):
    rewards = {}
    for kind in ("PNG", "WEBP", "JPEG"):
        with Client(server.url, image_format=kind) as client:
            rewards[kind] = [item.reward for item in client([IMAGE], [ASKED])]
    assert rewards["WEBP"] == rewards["PNG"]
    assert rewards["JPEG"] == pytest.approx(rewards["PNG"], abs=0.05)
    with pytest.raises(InputError, match="PNG, WEBP, JPEG"):
        Client(server.url, image_format="GIF")


def test_a_token_is_needed_where_there_is_one():
    server = RunningServer(token="correct horse battery staple")
    try:
        with httpx.Client(base_url=server.url, trust_env=False) as http:
            assert http.get("/health").status_code == 200
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer é"}):
                raw = {k: v.encode() for k, v in headers.items()}
                page = http.post("/score", json={"items": [item(GOOD)]}, headers=raw)
                assert page.status_code == 401
            assert http.post("/", content=b"x").status_code == 401
            assert http.get("/openapi.json").status_code == 401
        with Client(server.url, token="correct horse battery staple") as client:
            assert client([IMAGE], [ASKED])[0].reward > 0.5
            # the endpoint of flow_grpo is off unless it is asked for
            assert client._http.post("/", content=b"x").status_code == 404
    finally:
        server.stop()


def test_what_was_accepted_is_answered_before_the_server_stops(tmp_path):
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "t2i_spatial.cli.main", "serve", "--port", "0"],
        stderr=log,
        start_new_session=True,
    )
    try:

        def port() -> str | None:
            found = re.search(r"127\.0\.0\.1:(\d+)", (tmp_path / "log").read_text())
            return found and found[1]

        wait_until(port, 120)
        url = f"http://127.0.0.1:{port()}"

        async def ask_and_stop() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=url, timeout=HANGS, trust_env=False) as client:
                asked = {"items": [item(GOOD)] * 12}
                waiting = [asyncio.create_task(client.post("/score", json=asked)) for _ in range(6)]
                while (await client.get("/health")).json()["queue"] < 40:
                    await asyncio.sleep(0.01)
                os.killpg(process.pid, signal.SIGTERM)  # the workers get it too
                return await asyncio.gather(*waiting)

        answers = asyncio.run(ask_and_stop())
        assert [page.status_code for page in answers] == [200] * 6
        assert process.wait(60) == 0
        assert "stopped" in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "there is no token"),
        (["--reward", "spacial"], "did you mean 'spatial'"),
        (["--reward", "spatial=much"], "expected NAME=WEIGHT"),
        (["--max-images", "1000"], "raise --queue or lower --max-images"),
        (["--detector", "/nowhere"], "/nowhere"),
        (["--protocol", "nothing"], "unknown protocol"),
    ],
)
def test_a_server_that_cannot_start_says_why(arguments, message, monkeypatch):
    monkeypatch.delenv("T2I_SPATIAL_SERVE_TOKEN", raising=False)
    result = CliRunner().invoke(main, ["serve", "--port", "0", *arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and message in result.stderr


def test_a_short_token_and_a_taken_port_are_refused(server, tmp_path):
    (tmp_path / "token").write_text("short\n")
    arguments = ["serve", "--port", server.url.rpartition(":")[2]]
    result = CliRunner().invoke(main, [*arguments, "--token-file", str(tmp_path / "token")])
    assert result.exit_code == 1 and "at least 16 characters" in result.stderr
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "cannot be bound" in result.stderr


def test_the_client_sends_no_request_that_is_too_large(server, monkeypatch):
    sent = []
    post = Client._post

    def watched(client, form, files):
        sent.append(len(files))
        return post(client, form, files)

    monkeypatch.setattr(Client, "_post", watched)
    with Client(server.url) as client:
        size = len(client._encode(IMAGE))
        monkeypatch.setattr("t2i_spatial.rewards.client.MAX_BYTES", 2 * size)
        items = client([IMAGE] * 5, [ASKED] * 5)
        assert sent == [2, 2, 1] and {item.reward for item in items} == {items[0].reward}
        assert client([], []) == []
