"""Workers that square numbers, fail or die."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from t2i_spatial.errors import InputError, ModelLoadError

SCHEMA = pl.Schema({"n": pl.Int64, "device": pl.String})


class Square:
    def __init__(self, device):
        self.device = device

    def __call__(self, batch):
        return pl.DataFrame({"n": [n * n for n in batch], "device": self.device}, schema=SCHEMA)

    @classmethod
    def lost(cls, items, reason):
        return pl.DataFrame({"n": [-1] * len(items), "device": reason}, schema=SCHEMA)


class FailsAt(Square):
    def __call__(self, batch):
        if 2 in batch:
            raise InputError("two is not allowed")
        return super().__call__(batch)


class Dies(Square):
    def __call__(self, batch):
        if 3 in batch:
            os._exit(9)
        return super().__call__(batch)


class DiesAtOnce(Square):
    def __init__(self, device):
        os._exit(9)


def ray_node(_device=""):
    import ray

    return ray.get_runtime_context().get_node_id()


@dataclass(frozen=True)
class LoadsNowhere:
    """Has no model on one node, or (without one) on none; others wait for a file, if given."""

    node: str
    marker: str = ""
    lost = Square.lost

    def __call__(self, device):
        if self.node in ("", ray_node()):
            raise ModelLoadError("no weights here")
        return Slow(self.marker, -1)(device) if self.marker else Square(device)


@dataclass(frozen=True)
class DiesWithItsNode:
    """Kills one node with the batch in hand; on other nodes nothing is done before that."""

    node: str
    marker: str
    lost = Square.lost

    def __call__(self, device):
        return self if ray_node() == self.node else Slow(self.marker, -1)(device)

    def prefetch(self, batch):
        Path(self.marker).touch()
        os.kill(os.getppid(), signal.SIGKILL)  # the raylet, and with it all that it started
        signal.pause()


@dataclass(frozen=True)
class Slow:
    """Waits for a file before it does a batch that holds a number (any batch for -1)."""

    marker: str
    number: int
    lost = Square.lost

    def __call__(self, device):
        marker, number = Path(self.marker), self.number

        class Waits(Square):
            def __call__(self, batch):
                while (number < 0 or number in batch) and not marker.exists():
                    time.sleep(0.05)
                return super().__call__(batch)

        return Waits(device)
