"""Start the server and stop it with everything answered that it accepted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError, require
from t2i_spatial.progress import note
from t2i_spatial.rewards.server.monitoring import Monitoring
from t2i_spatial.rewards.server.server_settings import ServerSettings, is_loopback

KEEP_ALIVE = 600
"""Seconds after which an idle connection is closed."""


def serve(settings: ServerSettings, devices: Sequence[str], host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        InputError: an address that others can reach without a token, or one that is taken.
        ModelLoadError: a worker cannot load its models.
    """
    if not is_loopback(host) and settings.token is None:
        raise InputError(
            f"{host} can be reached by other machines, and there is no token; "
            "set T2I_SPATIAL_SERVE_TOKEN or --token-file, or bind 127.0.0.1"
        )
    require("fastapi", "serve")
    require("python_multipart", "serve")
    uvicorn: Any = require("uvicorn", "serve")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("t2i_spatial.serve")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addHandler(handler)  # "Invalid HTTP request received."
    asyncio.run(_serve(uvicorn, settings, devices, host, port))


async def _serve(
    uvicorn: Any, settings: ServerSettings, devices: Sequence[str], host: str, port: int
) -> None:
    from t2i_spatial.rewards.server.app import create_app
    from t2i_spatial.rewards.server.pool import Pool

    monitoring = Monitoring()
    config = server_config(uvicorn, settings, host, port)
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise InputError(f"{host}:{port} cannot be bound; is another server running?") from None
    pool = Pool(settings, devices, monitoring)
    note(f"loading {settings.detector.spec} on {', '.join(devices)}")
    try:
        await pool.start()
        config.app = create_app(settings, pool, monitoring)
        server = uvicorn.Server(config)
        # uvicorn's own handling kills the process with the signal before the workers are stopped
        server.capture_signals = contextlib.nullcontext
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.handle_exit, number, None)
        socket.listen(config.backlog)  # whoever waits for the next line may ask at once
        note(f"serving on http://{host}:{socket.getsockname()[1]}")
        await server.serve(sockets=[socket])
    finally:
        socket.close()
        await pool.close()
    note("stopped")


def server_config(uvicorn: Any, settings: ServerSettings, host: str, port: int) -> Any:
    """How uvicorn is run."""
    from t2i_spatial.rewards.server.connections import Connection

    return uvicorn.Config(
        "unused",
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=Connection,
        ws="none",
        lifespan="off",
        # a trainer asks once per step; closing its connection in between would race with its call
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.timeout),
        h11_max_incomplete_event_size=16_384,
    )


def read_token(path: Path | None) -> str | None:
    """The token of a file, or of T2I_SPATIAL_SERVE_TOKEN; `None` when there is neither."""
    text = path.read_text("utf-8") if path else os.environ.get("T2I_SPATIAL_SERVE_TOKEN", "")
    return text.strip() or None
