"""Who may look, and what the browser may do with what it gets."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from t2i_spatial.rewards.server.guard import Receive, Refused, Scope, Send, answer
from t2i_spatial.rewards.server.server_settings import is_loopback

LOG = logging.getLogger("t2i_spatial.view")
COOKIE = "t2i-spatial-view"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""No script or style but ours, nothing from elsewhere, nobody frames the page."""
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Access:
    """ASGI middleware: host name, token, origin of changes, and the headers of every answer.

    A browser brings the token once, in the address (`/?token=...`), and a cookie from then on;
    other clients send `Authorization: Bearer ...`.
    """

    def __init__(self, app: Any, token: str | None, local_only: bool) -> None:
        self.app = app
        self.token = token
        self.local_only = local_only
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def dressed(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await answer(refusal, dressed)
            elif self._brings_token(scope):
                await self._welcome(scope, dressed)
            else:
                await self.app(scope, receive, dressed)
        except Exception:
            LOG.exception("unexpected error")
            if not started:
                refusal = Refused(500, "unexpected error; see the terminal of t2i-spatial view")
                await answer(refusal, dressed)

    def _refusal(self, scope: Scope) -> Refused | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self.local_only and not is_loopback(name.lower()):
            return Refused(421, "this server does not answer to that host name")
        if scope["method"] not in ("GET", "HEAD") and not _from_here(headers, host):
            return Refused(403, "changes are taken from this server's own pages only")
        if self.token is None or self._brings_token(scope) or self._is_known(headers):
            return None
        return Refused(401, "a valid token is needed: open the address that the terminal shows")

    def _is_known(self, headers: dict[bytes, bytes]) -> bool:
        given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if self.token is not None and hmac.compare_digest(given, self.token.encode()):
            return True
        try:
            cookies = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        except CookieError:
            return False
        session = cookies[COOKIE].value if COOKIE in cookies else ""
        return hmac.compare_digest(session.encode(), self._session.encode())

    def _brings_token(self, scope: Scope) -> bool:
        if self.token is None or scope["path"] != "/":
            return False
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token", "")
        return hmac.compare_digest(given.encode(), self.token.encode())

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """Set the cookie, and take the token out of the address bar and the history."""
        cookie = f"{COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _from_here(headers: dict[bytes, bytes], host: str) -> bool:
    """Whether a request that changes something comes from a page of ours (or from no browser)."""
    if headers.get(b"sec-fetch-site", b"same-origin") != b"same-origin":
        return False
    origin = headers.get(b"origin", b"").decode("latin-1")
    return not origin or urlsplit(origin).netloc == host
