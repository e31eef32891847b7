"""From the selection to the rows of a training set."""

from __future__ import annotations

import polars as pl

from t2i_spatial.curation.box_captions import CLIP_TOKENS, mirror_caption
from t2i_spatial.curation.caption_length import Limit
from t2i_spatial.curation.crops import square_around_pair
from t2i_spatial.curation.exporter import EXPORT
from t2i_spatial.curation.selection import Selection
from t2i_spatial.files import scan_table
from t2i_spatial.progress import note
from t2i_spatial.tables import KEY


def export_rows(
    candidates: pl.LazyFrame, selection: Selection, *, crop: bool = False, mirror: bool = False
) -> pl.DataFrame:
    """EXPORT rows of what was kept, in the order of the candidates.

    Args:
        crop: take the square around the two boxes (`crops.square_around_pair`).
        mirror: after each image its mirrored copy with left and right swapped in the caption,
            where that is safe (`captions.mirror_caption`).
    """
    kept = (
        scan_table(selection.path)
        .filter("kept")
        .select(*KEY, pl.col("caption").alias("text"), "weight")
    )
    known = candidates.collect_schema().names()
    more = candidates.select(
        *KEY,
        "path",
        "score",
        (pl.col("margin") if "margin" in known else pl.lit(None)).alias("margin"),
        *[pl.col(n) if n in known else pl.lit(None).alias(n) for n in ("width", "height")],
        *[_object(role) if f"{role}_label" in known else pl.lit(None).alias(role) for role in "ab"],
        (square_around_pair() if crop else pl.lit(None)).alias("crop"),
        pl.lit(False).alias("mirrored"),
    )
    said = more.join(kept, on=KEY, how="inner", maintain_order="left")
    table = said.with_columns(_named_objects(said)).select(
        pl.col(name).cast(dtype) for name, dtype in EXPORT.items()
    )
    rows = table.collect(engine="streaming")
    return _with_mirrored(rows) if mirror else rows


def _object(role: str) -> pl.Expr:
    x, y, w, h = (pl.col(f"{role}_{part}") for part in "xywh")
    box = pl.concat_list(x, y, x + w, y + h)
    return pl.struct(pl.col(f"{role}_label").alias("phrase"), box.alias("box")).alias(role)


def _named_objects(frame: pl.LazyFrame) -> pl.Expr:
    """Those of the two objects that the caption names."""
    if frame.collect_schema()["a"] == pl.Null:
        return pl.lit(None).alias("objects")
    both = pl.concat_list(
        pl.when(
            pl.col("text")
            .str.to_lowercase()
            .str.contains(pl.col(role).struct.field("phrase").str.to_lowercase(), literal=True)
        ).then(role)
        for role in "ab"
    )
    return both.list.drop_nulls().alias("objects")


def _with_mirrored(rows: pl.DataFrame) -> pl.DataFrame:
    swapped = {text: mirror_caption(text) for text in rows["text"].unique()}
    captions = [swapped[text] for text in rows["text"]]
    copies = rows.with_columns(
        pl.Series("text", captions, dtype=pl.String), pl.lit(True).alias("mirrored")
    )
    if missing := captions.count(None):
        note(f"{missing:,} images have no mirrored copy: their caption cannot be mirrored safely")
    both = pl.concat([rows.with_row_index("row"), copies.with_row_index("row")])
    return both.filter(pl.col("text").is_not_null()).sort("row", maintain_order=True).drop("row")


def warn_long(rows: pl.DataFrame, limit: Limit | None = None) -> int:
    """How many captions are longer than the text encoder reads; one note if there are any."""
    limit = limit or Limit()
    counts = {text: limit.count(text) for text in rows["text"].unique()}
    long = [text for text in rows["text"] if counts[text] > limit.tokens]
    if long:
        how = "" if limit.tokenizer is not None else "about "
        whose = "CLIP " if limit.tokens == CLIP_TOKENS else ""
        note(
            f"{len(long):,} captions are longer than {limit.tokens} {whose}tokens and will be cut "
            f"by the text encoder, the first ({how}{counts[long[0]]}): {long[0][:60]!r}..."
        )
    return len(long)
