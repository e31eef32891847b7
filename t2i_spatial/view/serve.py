"""Start the app and stop it."""

from __future__ import annotations

import logging
import secrets
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError, require
from t2i_spatial.progress import note
from t2i_spatial.rewards.server.server_settings import is_loopback
from t2i_spatial.run import Run


def view_runs(
    paths: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    browser: bool = False,
) -> None:
    """Show these runs until SIGINT or SIGTERM.

    On an address that other machines can reach a token is needed; without one a random one is made
    and shown in the address.

    Raises:
        InputError: a folder that is no run, or an address that is taken.
    """
    runs = [Run.open(path) for path in paths]
    require("fastapi", "serve")
    uvicorn: Any = require("uvicorn", "serve")
    from t2i_spatial.view.app import create_app

    local = is_loopback(host)
    if token is None and not local:
        token = secrets.token_urlsafe(24)
    if token is not None and not (len(token) >= 16 and token.isascii()):
        raise InputError("the token must have at least 16 characters, all of them ASCII")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in ("t2i_spatial.view", "uvicorn.error"):
        logging.getLogger(name).addHandler(handler)
    config = uvicorn.Config(
        create_app(runs, token=token, local_only=local),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=5,
    )
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise InputError(f"{host}:{port} cannot be bound; is another server running?") from None
    socket.listen(128)  # whoever reads the address may come at once
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{socket.getsockname()[1]}/" + (f"?token={token}" if token else "")
    note(f"showing {', '.join(str(p) for p in paths)} on {address} (Ctrl-C ends)")
    if browser:
        webbrowser.open(address)
    try:
        uvicorn.Server(config).run(sockets=[socket])
    finally:
        socket.close()
