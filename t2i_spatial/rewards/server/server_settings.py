"""Limits and choices of the server, in one place."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import Field, InstanceOf, model_validator

from t2i_spatial.detectors.base import DetectorSpec
from t2i_spatial.errors import InputError
from t2i_spatial.judges.base import JudgeSpec
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.scoring.asked import require_judge
from t2i_spatial.scoring.core import RewardSpec
from t2i_spatial.settings import Option, Settings

FORMATS = ("PNG", "JPEG", "WEBP")


class ServerSettings(Settings):
    """What the server runs with.

    Attributes:
        detector: resolved detector of every worker.
        reward: reward of requests that do not name one.
        judge: resolved judge of every worker, for protocols that judge by answers, or `None`.
        compat: protocol of the flow_grpo endpoint, or `None` to leave it off.
        max_buffered: most bytes of all bodies held at a time.
        token: secret that clients must send, or `None`.
        local_only: answer only what is addressed to this machine by a loopback address or
            "localhost": a web page in a browser here could give its own name to 127.0.0.1.
    """

    detector: InstanceOf[DetectorSpec]
    reward: InstanceOf[RewardSpec] = Field(default_factory=RewardSpec)
    protocols: Annotated[tuple[str, ...], Option(("--protocol", "-p"), metavar="NAME")] = Field(
        default=(), description="Further protocol to judge by, in every request.  [default: none]"
    )
    color: str | None = Field(
        default=None,
        description="Colour method for boxes: pixels, clip or clip:MODEL.  [default: none]",
    )
    judge: InstanceOf[JudgeSpec] | None = None
    compat: str | None = None
    max_batch: int = Field(default=16, ge=1, description="Most images per forward pass.")
    max_wait: float = Field(
        default=0.005,
        ge=0,
        le=60,
        description="Longest time in seconds that an idle worker waits for a batch to fill.",
    )
    max_queue: Annotated[int, Option(("--queue",))] = Field(
        default=512, ge=1, description="Most images accepted and not yet answered."
    )
    max_images: int = Field(default=64, ge=1, description="Most images per request.")
    max_bytes: int = Field(default=64_000_000, ge=1, description="Most bytes per request.")
    max_buffered: int = Field(default=1_000_000_000, ge=1)
    max_pixels: int = Field(default=16_777_216, ge=1, description="Most pixels per image.")
    timeout: float = Field(
        default=120.0,
        ge=1,
        le=86_400,
        description="Seconds until a request, or a batch in a worker, is given up.",
    )
    token: str | None = None
    local_only: bool = True

    @model_validator(mode="after")
    def _check(self) -> ServerSettings:
        for name in self.protocols:
            PROTOCOLS[name]  # an unknown one is an InputError
        require_judge([*self.reward.protocols, *self.protocols], self.judge)
        if self.max_images > self.max_queue:
            raise InputError(
                f"a request may hold {self.max_images} images, but the queue only "
                f"{self.max_queue}; raise --queue or lower --max-images"
            )
        if self.token is not None and not (len(self.token) >= 16 and self.token.isascii()):
            raise InputError("the token must have at least 16 characters, all of them ASCII")
        return self


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
