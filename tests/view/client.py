"""A client that follows nothing, at a host name of choice."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient


def browser(app: Any, host: str = "127.0.0.1:80") -> TestClient:
    return TestClient(app, base_url=f"http://{host}", follow_redirects=False)
