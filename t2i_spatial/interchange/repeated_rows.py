"""Images that stand twice in a file of detections, or in two of several files."""

from __future__ import annotations

import json

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.progress import note
from t2i_spatial.tables import KEY

CHOICES = ("refuse", "once")


def once(table: pl.DataFrame, what: str, repeated: str) -> pl.DataFrame:
    """The table with rows that are the same in every value once, if that was asked for.

    Raises:
        InputError: an image twice, with other values or without leave.
    """
    if repeated not in CHOICES:
        raise InputError(f"repeated must be one of {', '.join(CHOICES)}, got {repeated!r}")
    again = table.select(KEY).is_duplicated()
    if not again.any():
        return table
    places = again.arg_true().to_list()
    first: dict[tuple[str, int], str] = {}
    same, other = [], None
    for place, row in zip(places, table[places].iter_rows(named=True), strict=True):
        key = (row["prompt_id"], row["sample"])
        said = json.dumps(row, sort_keys=True, default=str)
        if key not in first:
            first[key] = said
        elif first[key] == said:
            same.append(place)
        else:
            other = other or key
    if other is not None:
        raise InputError(
            f"{what}: the same image twice: prompt_id {other[0]!r}, sample {other[1]}, with "
            "different values"
        )
    if repeated == "refuse":
        key = next(iter(first))
        raise InputError(
            f"{what}: the same image twice: prompt_id {key[0]!r}, sample {key[1]} "
            f"({len(same):,} rows repeat one that is the same in every value; --repeated-rows once "
            "counts each image once)"
        )
    note(f"{what}: {len(same):,} rows repeat another one and are left out")
    keep = pl.Series(range(len(table))).is_in(same)
    return table.filter(~keep)
