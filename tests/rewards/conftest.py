"""A real server on a loopback port, with a real worker process on the bundled detector."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

from t2i_spatial import bundled
from t2i_spatial.detectors import resolve_detector
from t2i_spatial.rewards.server.app import create_app
from t2i_spatial.rewards.server.monitoring import Monitoring
from t2i_spatial.rewards.server.pool import Pool
from t2i_spatial.rewards.server.serve import server_config
from t2i_spatial.rewards.server.server_settings import ServerSettings
from tests.limits import HANGS


class RunningServer:
    def __init__(self, **settings: Any) -> None:
        self.settings = ServerSettings(detector=resolve_detector("bundled"), **settings)
        self.loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(120)

    def _run(self) -> None:
        self.loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        monitoring = Monitoring()
        self.pool = Pool(self.settings, ["cpu"], monitoring)
        await self.pool.start()
        config = server_config(uvicorn, self.settings, "127.0.0.1", 0)
        config.app = create_app(self.settings, self.pool, monitoring)
        socket = config.bind_socket()
        self.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        self.server = uvicorn.Server(config)
        self.loop.call_soon(self._started.set)
        await self.server.serve(sockets=[socket])
        await self.pool.close()
        socket.close()

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    running = RunningServer(
        color="pixels",
        compat="geneval_reward_fixed",
        max_queue=96,
        max_images=16,
        max_bytes=3_000_000,
        max_pixels=1_000_000,
        max_batch=8,
        timeout=HANGS,
    )
    yield running
    running.stop()


@pytest.fixture
def http(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=HANGS, trust_env=False) as client:
        yield client


def scene_image(first: str, relation: str, second: str, seed: int = 0) -> Image.Image:
    """A rendered scene with two nouns that satisfies the relation."""
    rng = np.random.default_rng(seed)
    scene = bundled.sample_scene(rng, nouns=(first, second), relation=relation.removesuffix(" of"))
    return Image.fromarray(bundled.render(scene)[0])


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def item(data: bytes, prompt: str = "a cat to the left of a dog", **more: Any) -> dict[str, Any]:
    return {"image": base64.b64encode(data).decode(), "prompt": prompt, **more}
