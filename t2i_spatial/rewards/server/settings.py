"""Limits and choices of the server, in one place."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from t2i_spatial.detectors.base import DetectorSpec
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.scoring.core import RewardSpec

FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class ServerSettings:
    """What the server runs with.

    Attributes:
        detector: resolved detector of every worker.
        reward: reward of requests that do not name one.
        protocols: judged for every request besides those of the reward.
        color: colour method, or `None`.
        compat: protocol of the flow_grpo endpoint, or `None` to leave it off.
        max_batch: most images per forward pass.
        max_wait: longest time in seconds an idle worker waits for a batch to fill.
        max_queue: most images accepted and not yet answered.
        max_images: most images per request.
        max_bytes: most bytes per request body.
        max_buffered: most bytes of all bodies held at a time.
        max_pixels: most pixels per image.
        timeout: seconds until a request, or a batch in a worker, is given up.
        token: secret that clients must send, or `None`.
        local_only: answer only what is addressed to this machine by a loopback address or
            "localhost": a web page in a browser here could give its own name to 127.0.0.1.
    """

    detector: DetectorSpec
    reward: RewardSpec = field(default_factory=RewardSpec)
    protocols: tuple[str, ...] = ()
    color: str | None = None
    compat: str | None = None
    max_batch: int = 16
    max_wait: float = 0.005
    max_queue: int = 512
    max_images: int = 64
    max_bytes: int = 64_000_000
    max_buffered: int = 1_000_000_000
    max_pixels: int = 16_777_216
    timeout: float = 120.0
    token: str | None = None
    local_only: bool = True

    def __post_init__(self) -> None:
        for name in self.protocols:
            PROTOCOLS[name]  # an unknown one is an InputError
        if self.max_images > self.max_queue:
            raise InputError(
                f"a request may hold {self.max_images} images, but the queue only "
                f"{self.max_queue}; raise --queue or lower --max-images"
            )
        # `not <=` also refuses NaN
        if not 0 <= self.max_wait <= 60 or not 1 <= self.timeout <= 86_400:
            raise InputError("seconds: --max-wait is 0 to 60, --timeout 1 to 86,400")
        if self.token is not None and not (len(self.token) >= 16 and self.token.isascii()):
            raise InputError("the token must have at least 16 characters, all of them ASCII")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
