"""Which sample of its prompt every image of a file is."""

from __future__ import annotations

import polars as pl

from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.numbering import rank_samples, sample_grid
from t2i_spatial.progress import note
from t2i_spatial.tables import KEY


def with_lines(table: pl.DataFrame, names: PromptNames) -> pl.DataFrame:
    """The table with images of repeated lines as further samples of their prompt.

    See `prompts.repeats`: of a prompt that stands on four lines with two samples each, the third
    line's images are samples 4 and 5.
    """
    if not names.lines or not table["prompt_id"].cast(pl.String).is_in(list(names.lines)).any():
        return table
    keys = list(table.select(pl.col("prompt_id").cast(pl.String), "sample").iter_rows())
    numbers = sorted({number for _, number in keys})
    place = {number: rank for rank, number in enumerate(numbers)}
    merged = [names.lines.get(prompt_id, (prompt_id, 0)) for prompt_id, _ in keys]
    samples = [
        line * len(numbers) + place[number]
        for (_, line), (_, number) in zip(merged, keys, strict=True)
    ]
    return table.with_columns(
        pl.Series("prompt_id", [prompt_id for prompt_id, _ in merged], dtype=pl.String),
        pl.Series("sample", samples, dtype=pl.Int64),
    )


def ranked(table: pl.DataFrame, what: str, known: pl.DataFrame | None = None) -> pl.DataFrame:
    """The table with samples that count within each prompt (see `numbering.rank_samples`).

    An image without a name is then called `<prompt id>_<number in the file>`.
    """
    keys = table.select(KEY)
    if (
        not len(keys)
        or not keys["sample"].dtype.is_integer()
        or keys.null_count().sum_horizontal()[0]
    ):
        return table
    if known is not None and len(keys.cast({"prompt_id": pl.String}).join(
        known.select("prompt_id", pl.col("sample").cast(keys["sample"].dtype)), on=KEY, how="semi"
    )):  # fmt: skip
        return table
    counts = keys["prompt_id"].value_counts()["count"]
    numbers = keys["sample"].unique()
    most = int(counts.max() or 0)  # type: ignore[arg-type]
    if sample_grid(len(keys), len(counts), most, numbers.to_list()).kind == "counted":
        return table
    ranks, told = rank_samples(list(keys.iter_rows()))
    if told:
        note(f"{what}: {told}")
    name = pl.format("{}_{}", *KEY)
    image = pl.coalesce("image", name) if "image" in table.columns else name
    return table.with_columns(image.alias("image")).with_columns(
        pl.Series("sample", ranks, dtype=pl.Int64)
    )
