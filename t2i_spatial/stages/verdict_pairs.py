"""Verdicts of two runs, image beside image.

Of runs of any size a part is in memory: they are read side by side where their tables have one
order, and prompt by prompt otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.tables import KEY, VERDICTS, conform

COLUMNS = pl.Schema(
    {key: VERDICTS[key] for key in (*KEY, "tag", "status", "value", "correct", "components")}
)
"""Of VERDICTS, what numbers are made of; reasons and boxes are most of a table."""


@dataclass(frozen=True)
class JoinedVerdicts:
    """Verdicts of two runs, row i of one beside row i of the other.

    Attributes:
        a, b: VERDICTS (`COLUMNS` at least) of the same prompts and samples.
        only_a, only_b: rows that had no partner.
    """

    a: pl.DataFrame
    b: pl.DataFrame
    only_a: int = 0
    only_b: int = 0


def join_verdicts(a: pl.DataFrame, b: pl.DataFrame, what: str = "verdicts") -> JoinedVerdicts:
    """Pair two VERDICTS tables of one protocol by prompt and sample.

    Raises:
        InputError: an image occurs twice, or nothing can be paired.
    """
    pairs = _join(a, b, what)
    _require_pairs(len(pairs.a), len(a), len(b), what)
    return pairs


def read_pairs(
    a: Path, b: Path, what: str, only: pl.DataFrame | None = None
) -> Iterator[JoinedVerdicts]:
    """The same for the tables of two runs, piece by piece.

    Args:
        only: `prompt_id` of the prompts that are compared; all by default.

    Raises:
        InputError: as `join_verdicts`; that nothing can be paired when all has been read.
    """
    rows = max(parts.count(a), parts.count(b))
    if rows > parts.BATCH and parts.same_order([a, b]):
        twice = parts.repeated(a, KEY)
        if twice is not None:
            raise InputError(f"{what}: run A has the same image twice: {twice}")
        pieces: Iterable[Sequence[pl.DataFrame]] = zip(_read(a), _read(b), strict=True)
    else:
        tables = [parts.scan(path, _columns(path)) for path in (a, b)]
        pieces = parts.buckets(tables, "prompt_id", rows)
    paired, of_a, of_b = 0, 0, 0
    for sides in pieces:
        left, right = (_chosen(conform(side, COLUMNS, what), only) for side in sides)
        in_order = left.select(KEY).equals(right.select(KEY)) and rows > parts.BATCH
        pairs = JoinedVerdicts(left, right) if in_order else _join(left, right, what)
        paired, of_a, of_b = paired + len(pairs.a), of_a + len(left), of_b + len(right)
        yield pairs
    _require_pairs(paired, of_a, of_b, what)


def _columns(path: Path) -> list[str]:
    """Those of `COLUMNS` that a table has."""
    there = parts.scan(path).collect_schema()
    return [name for name in COLUMNS if name in there]


def _read(path: Path) -> Iterator[pl.DataFrame]:
    return parts.batches(path, _columns(path))


def _chosen(table: pl.DataFrame, only: pl.DataFrame | None) -> pl.DataFrame:
    return table if only is None else table.join(only, on="prompt_id", how="semi")


def _join(a: pl.DataFrame, b: pl.DataFrame, what: str) -> JoinedVerdicts:
    for label, table in (("A", a), ("B", b)):
        keys = table.select(KEY)
        if keys.is_duplicated().any():
            twice = keys.filter(keys.is_duplicated()).row(0)
            raise InputError(f"{what}: run {label} has the same image twice: {twice}")
    left = a.join(b, on=KEY, how="semi").sort(KEY)
    right = b.join(a, on=KEY, how="semi").sort(KEY)
    return JoinedVerdicts(left, right, len(a) - len(left), len(b) - len(right))


def _require_pairs(paired: int, a: int, b: int, what: str) -> None:
    if not paired:
        raise InputError(
            f"{what}: none of the {a:,} images of A and {b:,} of B share prompt id and sample; are "
            "these runs of the same prompt set?"
        )
