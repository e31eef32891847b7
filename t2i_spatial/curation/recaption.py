"""Captions of the kept images: the prompt, or what the boxes say, or some of each."""

from __future__ import annotations

from typing import Any

import polars as pl

from t2i_spatial.curation.box_captions import CAPTIONS, JUDGED
from t2i_spatial.curation.caption_length import Limit
from t2i_spatial.curation.object_pairs import clear_relation_words
from t2i_spatial.curation.random_order import random_order
from t2i_spatial.curation.selection import Selection, StageCount
from t2i_spatial.errors import InputError, nearest
from t2i_spatial.files import write_table
from t2i_spatial.tables import KEY, SELECTION

NO_CAPTION = "no relation of its boxes can be told without doubt"


def recaption(
    selection: Selection,
    candidates: pl.LazyFrame,
    kind: str = "prompt",
    *,
    percent: float = 100.0,
    seed: int = 0,
    limit: Limit | None = None,
    drop_long: bool = False,
    detections: pl.LazyFrame | None = None,
    min_score: float = 0.0,
) -> Selection:
    """Give every kept row its caption, in `selection.parquet` too.

    Args:
        kind: one of `captions.CAPTIONS`.
        percent: share of the kept rows that get this kind, the rest keep their prompt (SPRIGHT
            mixes 50 % spatial with 50 % general captions). Exactly that share, rounded, chosen
            by `seed` and each row's key.
        seed: also of the choice among the ways to say a pair.
        limit: of a caption, by default CLIP's.
        drop_long: refuse rows whose caption is longer.
        detections: DETECTIONS by the same keys: long captions then tell of all boxes of at least
            `min_score`, and of the pair of the candidate otherwise.
        min_score: detector score of a box that a caption may speak of.

    Returns:
        The selection with one more stage when something was refused: `caption` for rows of which
        nothing can be said, `caption_tokens` for long ones.

    Raises:
        InputError: an unknown kind, `percent` outside 0 to 100, or prompts are wanted as captions
            and the candidates have none.
    """
    if kind not in CAPTIONS:
        raise InputError(f"unknown caption {kind!r}; {nearest(kind, CAPTIONS)}")
    if not 0 <= percent <= 100:
        raise InputError(f"percent must be from 0 to 100, got {percent:g}")
    if (kind == "prompt" or percent < 100) and "text" not in candidates.collect_schema().names():
        raise InputError("pairs of boxes have no prompt that could be a caption of them")
    table = selection.frame()
    limit = limit or Limit()
    rows = table.filter("kept").select(KEY)
    rows = rows.join(_needed(candidates, kind).collect(), on=KEY, how="left", maintain_order="left")
    if kind == "long" and detections is not None:
        rows = _with_boxes(rows, detections, min_score)
    numbers, spatial = shares(rows, percent, seed)
    captions: list[str | None] = []
    refused: list[str | None] = []
    reasons: list[str | None] = []
    for row, number, changed in zip(rows.iter_rows(named=True), numbers, spatial, strict=True):
        made = CAPTIONS[kind if changed else "prompt"](row, number)
        name = reason = None
        if not made:
            name, reason = "caption", NO_CAPTION
        elif drop_long and (tokens := limit.count(made)) > limit.tokens:
            name, reason = "caption_tokens", f"the caption has {tokens} tokens > {limit.tokens}"
        captions.append(made)
        refused.append(name)
        reasons.append(reason)
    said = rows.select(KEY).with_columns(
        pl.Series("_caption", captions, dtype=pl.String),
        pl.Series("_refused", refused, dtype=pl.String),
        pl.Series("_reason", reasons, dtype=pl.String),
    )
    new = pl.col("_refused").is_not_null()
    table = (
        table.join(said, on=KEY, how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("kept")).then("_caption").otherwise("caption").alias("caption"),
        )
        .with_columns(
            pl.when(new).then(False).otherwise("kept").alias("kept"),
            pl.when(new).then("_refused").otherwise("filter").alias("filter"),
            pl.when(new).then("_reason").otherwise("reason").alias("reason"),
            *[pl.when(~new).then(name).alias(name) for name in ("caption", "weight")],
        )
        .select(list(SELECTION))
    )
    write_table(selection.path, table)
    stages = list(selection.stages)
    left = selection.kept
    for name, adjective in (("caption", "captioned"), ("caption_tokens", "short enough")):
        if count := refused.count(name):
            left -= count
            stages.append(StageCount(name, adjective, left, count))
    return Selection(selection.path, selection.candidates, tuple(stages))


def shares(rows: pl.DataFrame, percent: float, seed: int) -> tuple[pl.Series, pl.Series]:
    """Of every kept row a number of its own, and whether it is one of the `percent`."""
    numbers = random_order(rows, seed)
    return numbers, numbers.rank("ordinal") <= round(len(rows) * percent / 100)


def _needed(candidates: pl.LazyFrame, kind: str) -> pl.LazyFrame:
    known = candidates.collect_schema().names()
    columns: list[Any] = [*KEY]
    columns.append("text" if "text" in known else pl.lit(None, dtype=pl.String).alias("text"))
    if kind == "judge":
        columns.append(JUDGED)
    elif kind != "prompt":
        columns += [f"{r}_{part}" for r in "ab" for part in ("label", "x", "y", "w", "h")]
        columns.append("words" if "words" in known else clear_relation_words().alias("words"))
    return candidates.select(columns)


def _with_boxes(rows: pl.DataFrame, detections: pl.LazyFrame, min_score: float) -> pl.DataFrame:
    sure = pl.element().filter(pl.element().struct.field("score") >= min_score)
    boxes = detections.select(*KEY, pl.col("detections").list.eval(sure))
    return rows.lazy().join(boxes, on=KEY, how="left", maintain_order="left").collect()
