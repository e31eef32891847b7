"""Choices that depend on a row's key and a seed, never on the other rows."""

from __future__ import annotations

import hashlib

import polars as pl

from t2i_spatial.tables import KEY


def random_order(rows: pl.DataFrame, seed: int) -> pl.Series:
    """(n,) UInt64 from the key columns and the seed; their ascending order is a shuffle."""
    numbers = [
        int.from_bytes(
            hashlib.blake2b(f"{seed}/{prompt_id}/{sample}".encode(), digest_size=8).digest()
        )
        for prompt_id, sample in rows.select(KEY).iter_rows()
    ]
    return pl.Series("number", numbers, dtype=pl.UInt64)
