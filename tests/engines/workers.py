"""Workers that square numbers, fail or die."""

from __future__ import annotations

import os

import polars as pl

from t2i_spatial.errors import InputError

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
