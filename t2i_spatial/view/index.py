"""What is kept in memory of a run: a few numbers per image, the texts once per prompt.

Everything nested (boxes, reasons, answers) stays in the Parquet files until it is looked at; see
`t2i_spatial.view.evidence`. A million images take about 60 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from t2i_spatial.errors import InputError
from t2i_spatial.files import scan_table
from t2i_spatial.run import Run
from t2i_spatial.tables import KEY, SCORED

Codes = NDArray[np.int32]
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

VERDICT_NAMES = ("right", "wrong", "graded", "unscored")
"""What a verdict can be; graded ones have a value and no yes or no."""
KEPT_NAMES = ("kept", "dropped")
NO_PROTOCOL = ""
"""Stands for the images themselves, where nothing has been judged yet."""


@dataclass(frozen=True, eq=False)
class Column:
    """One grouping of images: `codes[i]` is the place in `names`, or -1."""

    names: tuple[str, ...]
    codes: Codes


@dataclass(frozen=True, eq=False)
class PromptGroups:
    """Several members per prompt: pairs of (row of the prompt, place in `names`)."""

    names: tuple[str, ...]
    prompts: Rows
    codes: Codes


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompt set: ids, texts, what is searched, and what the prompts ask for."""

    ids: pl.Series
    texts: pl.Series
    search: pl.Series
    groups: Mapping[str, PromptGroups]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Index:
    """The images of one run under one protocol, in the order of its table.

    Attributes:
        protocol: whose verdicts these are, or `NO_PROTOCOL`.
        prompts: of the run.
        prompt, sample: row i is sample `sample[i]` of prompt `prompt[i]` (-1: unknown prompt).
        value, margin: not a number where there is none.
        columns: verdict, status, tag, kept and filter.
        image: row in images.parquet, or -1.
    """

    protocol: str
    prompts: Prompts
    prompt: Codes
    sample: Codes
    value: Floats
    margin: Floats
    columns: Mapping[str, Column]
    image: Codes
    keys: Rows = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", key_of(self.prompt, self.sample))

    def __len__(self) -> int:
        return len(self.prompt)


def key_of(prompt: Codes, sample: Codes) -> Rows:
    """One number per image."""
    return prompt.astype(np.int64) << 32 | sample.astype(np.int64)


def align(wanted: Rows, there: Rows) -> Rows:
    """Where each of the keys `wanted` stands in `there`; -1 where it does not."""
    if np.array_equal(wanted, there):
        return np.arange(len(there), dtype=np.int64)
    if not len(there):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(there, kind="stable")
    place = np.minimum(np.searchsorted(there, wanted, sorter=order), len(there) - 1)
    found = order[place]
    return np.where(there[found] == wanted, found, -1)


def read_prompts(run: Run) -> Prompts:
    """The prompts of a run, without their metadata."""
    columns = ["prompt_id", "text", "tag", "objects", "relations"]
    table = scan(run, "prompts.parquet", columns).collect()
    words = pl.concat_str("prompt_id", "text", "tag", separator=" ", ignore_nulls=True)
    return Prompts(
        table["prompt_id"],
        table["text"].fill_null(""),
        table.select(words.str.to_lowercase().alias("search"))["search"],
        {
            "relation": _groups(table["relations"], "relation"),
            "object": _groups(table["objects"], "name"),
        },
    )


def read_index(run: Run, prompts: Prompts, protocol: str) -> Index:
    """The images of a run under one protocol (`NO_PROTOCOL`: before anything was judged).

    Raises:
        InputError: a table is missing or damaged.
    """
    ids = pl.DataFrame({"prompt_id": prompts.ids}).with_row_index("prompt").unique("prompt_id")
    if protocol == NO_PROTOCOL:
        table = scan(run, "images.parquet", ["prompt_id", "sample", "status"]).collect()
        nothing = pl.lit(None)
        table = table.with_columns(
            nothing.cast(pl.String).alias("tag"),
            nothing.cast(pl.Float64).alias("value"),
            nothing.cast(pl.Float64).alias("margin"),
            nothing.cast(pl.Boolean).alias("correct"),
        )
    else:
        name = f"verdicts/{protocol}.parquet"
        columns = ["prompt_id", "sample", "tag", "value", "correct", "status", "margin"]
        table = scan(run, name, columns).collect()
    prompt, sample = _places(table, ids)
    keys = key_of(prompt, sample)
    return Index(
        protocol,
        prompts,
        prompt,
        sample,
        table["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        table["margin"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        {
            "verdict": Column(VERDICT_NAMES, _verdicts(table)),
            "status": _column(table["status"]),
            "tag": _column(table["tag"]),
            **_selection(run, ids, keys),
        },
        _image_rows(run, ids, keys, table.select(KEY)).astype(np.int32),
    )


def scan(run: Run, name: str, columns: list[str] | None = None) -> pl.LazyFrame:
    """A table of the run, read when it is collected.

    Raises:
        InputError: no such table, or columns that it does not have.
    """
    if not run.has(name):
        raise InputError(f"{run.path} has no {name} yet; run the stage that makes it first")
    try:
        table = scan_table(run.path / name)
        missing = set(columns or ()) - set(table.collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{run.path / name} cannot be read as Parquet: {said}") from None
    if missing:
        raise InputError(f"{run.path / name} has no columns {sorted(missing)}")
    return table if columns is None else table.select(columns)


def _places(table: pl.DataFrame, ids: pl.DataFrame) -> tuple[Codes, Codes]:
    """Rows of the prompts, and samples, of a table that has `KEY`."""
    prompt = table.select("prompt_id").join(
        ids, on="prompt_id", how="left", maintain_order="left"
    )["prompt"]  # fmt: skip
    return (
        prompt.cast(pl.Int32).fill_null(-1).to_numpy(),
        table["sample"].cast(pl.Int32).fill_null(-1).to_numpy(),
    )


def _verdicts(table: pl.DataFrame) -> Codes:
    scored = table["status"] == SCORED
    code = pl.when(~scored).then(3).when(table["correct"].is_null()).then(2)
    sided = code.when(table["correct"]).then(0).otherwise(1)
    return table.select(sided.cast(pl.Int32).alias("code"))["code"].to_numpy()


def _column(values: pl.Series) -> Column:
    """A text column; its names in the order of the alphabet."""
    names = values.drop_nulls().unique().sort()
    codes = values.replace_strict(
        names, pl.Series(range(len(names)), dtype=pl.Int32), default=-1, return_dtype=pl.Int32
    )
    return Column(tuple(names.to_list()), codes.fill_null(-1).to_numpy())


def _groups(values: pl.Series, part: str) -> PromptGroups:
    """The distinct values of one field of a list of structs, prompt by prompt."""
    table = pl.DataFrame({"all": values}).with_row_index("prompt")
    name = pl.col("all").struct.field(part).alias("name")
    pairs = table.explode("all").select("prompt", name).drop_nulls().unique()
    column = _column(pairs["name"])
    return PromptGroups(column.names, pairs["prompt"].cast(pl.Int64).to_numpy(), column.codes)


def _selection(run: Run, ids: pl.DataFrame, keys: Rows) -> dict[str, Column]:
    """What curation did with each image: kept or dropped, and by which filter."""
    if not run.has("selection.parquet"):
        return {}
    chosen = scan(run, "selection.parquet", ["prompt_id", "sample", "kept", "filter"]).collect()
    rows = align(keys, key_of(*_places(chosen, ids)))
    kept = chosen["kept"].fill_null(False).to_numpy()
    filters = _column(chosen["filter"])
    if not len(kept):
        return {}
    codes = np.where(rows < 0, -1, np.where(kept[rows], 0, 1)).astype(np.int32)
    dropped = np.where(codes == 1, filters.codes[rows], -1).astype(np.int32)
    return {"kept": Column(KEPT_NAMES, codes), "filter": Column(filters.names, dropped)}


def _image_rows(run: Run, ids: pl.DataFrame, keys: Rows, table: pl.DataFrame) -> Rows:
    """Where the images of a table stand in images.parquet."""
    if not run.has("images.parquet"):
        return np.full(len(keys), -1, dtype=np.int64)
    images = scan(run, "images.parquet", ["prompt_id", "sample"]).collect()
    if images.equals(table):  # the usual case, and much quicker than finding every one
        return np.arange(len(keys), dtype=np.int64)
    return align(keys, key_of(*_places(images, ids)))


def row_of(index: Index, row: int) -> dict[str, Any]:
    """What the gallery says of one image without looking at the nested tables."""
    place = int(index.prompt[row])
    known = place >= 0
    told: dict[str, Any] = {
        "row": row,
        "prompt_id": index.prompts.ids[place] if known else None,
        "text": index.prompts.texts[place] if known else "(not in the prompt set)",
        "sample": int(index.sample[row]),
        "value": number(index.value[row]),
        "margin": number(index.margin[row]),
        "image": int(index.image[row]) if index.image[row] >= 0 else None,
    }
    for name, column in index.columns.items():
        code = int(column.codes[row])
        told[name] = column.names[code] if code >= 0 else None
    return told


def number(value: float) -> float | None:
    """A finite number, or `None`."""
    return float(value) if np.isfinite(value) else None
