"""A real S3 server on loopback (moto's) whose faults a test switches on and off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>%s</Message></Error>"


@dataclass
class Faults:
    """What the server does instead of answering; `requests` are those that came, in order."""

    every: int = 0
    """Every so-manyth request is answered by `SlowDown`."""
    delay: float = 0.0
    """Seconds that every tenth answer comes late."""
    refuse: Callable[[str, str], tuple[int, bytes, bytes] | None] | None = None
    """From method and path: status, code and message of an error, or `None` to answer."""
    refuse_conditions: tuple[int, bytes, bytes] | None = None
    """The answer to writes with a condition."""
    requests: list[tuple[str, str]] = field(default_factory=list)

    def reset(self) -> None:
        self.every, self.delay, self.refuse, self.refuse_conditions = 0, 0.0, None, None
        self.requests.clear()


class FaultyServer:
    """Moto behind a layer of faults, on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._app = DomainDispatcherApplication(create_backend_app)
        self._count = 0
        self._lock = threading.Lock()
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            self._count += 1
            count = self._count
            self.faults.requests.append((method, path))
        if self.faults.delay and count % 10 == 0:
            time.sleep(self.faults.delay)
        refused = self.faults.refuse(method, path) if self.faults.refuse else None
        if "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ:
            refused = refused or self.faults.refuse_conditions
        if refused is None and self.faults.every and count % self.faults.every == 0:
            refused = (503, b"SlowDown", b"Please reduce your request rate.")
        if refused is None:
            return self._app(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, code, message = refused
        body = b"" if method == "HEAD" else ERROR % (code, message)
        start(f"{status} Refused", [("Content-Type", "application/xml"),
                                    ("Content-Length", str(len(body)))])  # fmt: skip
        return [body]


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass
