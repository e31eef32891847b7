"""A small chat-completions server on loopback that replays what a test tells it to."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


def said(text: str, top: dict[str, float] | None = None, **choice: Any) -> Answer:
    """A completion; `top` are the probabilities of the first token."""
    logprobs = None
    if top:
        listed = [{"token": t, "logprob": math.log(p)} for t, p in top.items()]
        logprobs = {"content": [{**listed[0], "top_logprobs": listed}]}
    body = {
        "model": "seen-model",
        "choices": [
            {
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
                "logprobs": logprobs,
                **choice,
            }
        ],
        "usage": {"total_tokens": 7},
    }
    return 200, {}, json.dumps(body).encode()


def failure(status: int, text: str = "", **headers: str) -> Answer:
    """An error with a plain body."""
    return status, headers, text.encode()


class ReplayingServer:
    """`with ReplayingServer(answer) as server:`; `answer(body, number)` is called per request."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Answer]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.busiest = self._busy = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._send(200, {}, json.dumps({"data": [{"id": "seen-model"}]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(outer.bodies)
                    outer.bodies.append(body)
                    outer.headers.append(dict(self.headers))
                    outer._busy += 1
                    outer.busiest = max(outer.busiest, outer._busy)
                try:
                    self._send(*answer(body, number))
                finally:
                    with lock:
                        outer._busy -= 1

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ReplayingServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def text_of(body: dict[str, Any]) -> str:
    """The question in a request."""
    return next(p["text"] for p in body["messages"][-1]["content"] if p["type"] == "text")


def image_of(body: dict[str, Any]) -> str:
    """The data URI in a request."""
    parts = body["messages"][-1]["content"]
    return next(p["image_url"]["url"] for p in parts if p["type"] == "image_url")
