"""What is kept in memory of a run: a few numbers per image, the texts once per prompt.

Everything nested (boxes, reasons, answers) stays in the Parquet files until it is looked at; see
`t2i_spatial.view.evidence`. A million images take about 40 MB.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.files import scan_table
from t2i_spatial.run import Run
from t2i_spatial.tables import KEY, SCORED, VERDICTS

Codes = NDArray[np.signedinteger[Any]]
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

VERDICT_NAMES = ("right", "wrong", "graded", "unscored")
"""What a verdict can be; graded ones have a value and no yes or no."""
KEPT_NAMES = ("kept", "dropped")
JUDGED = ("tag", "value", "correct", "margin")
"""Columns that a table of images does not have."""
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

    @functools.cached_property
    def keys(self) -> Rows:
        """One number per image, the same in every index of these prompts."""
        return key_of(self.prompt, self.sample)

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
    name, columns = "images.parquet", ["prompt_id", "sample", "status"]
    if protocol != NO_PROTOCOL:
        name, columns = f"verdicts/{protocol}.parquet", [*columns, *JUDGED]
    scan(run, name, columns)
    pieces = [_piece(rows, ids) for rows in _pieces(run, name, columns)]
    prompt, sample, value, margin, verdict = (
        np.concatenate(arrays) for arrays in zip(*(piece.numbers for piece in pieces), strict=True)
    )
    return Index(
        protocol,
        prompts,
        prompt,
        sample,
        value,
        margin,
        {
            "verdict": Column(VERDICT_NAMES, verdict),
            "status": _joined_columns([piece.status for piece in pieces]),
            "tag": _joined_columns([piece.tag for piece in pieces]),
            **_selection(run, ids, name, prompt, sample),
        },
        _image_rows(run, ids, name, prompt, sample).astype(np.int32),
    )


class _Piece(NamedTuple):
    """Some rows of an index."""

    numbers: tuple[Codes, Codes, Floats, Floats, Codes]
    status: Column
    tag: Column


def _pieces(run: Run, name: str, columns: list[str]) -> Iterator[pl.DataFrame]:
    """A table a million rows at a time: strings of all images would take ten times the index."""
    path = run.table_path(name)
    yield from parts.batches(path, columns, size=8 * parts.BATCH)
    if not parts.count(path):
        yield parts.scan(path, columns).collect()


def _piece(rows: pl.DataFrame, ids: pl.DataFrame) -> _Piece:
    lacking = [pl.lit(None, VERDICTS[key]).alias(key) for key in JUDGED if key not in rows.columns]
    rows = rows.with_columns(lacking)
    value, margin = (
        rows[key].cast(pl.Float64).fill_null(float("nan")).to_numpy() for key in ("value", "margin")
    )
    numbers = (*_places(rows, ids), value, margin, _verdicts(rows).astype(np.int8))
    return _Piece(numbers, _column(rows["status"]), _column(rows["tag"]))


def _joined_columns(pieces: Sequence[Column]) -> Column:
    """One grouping of those of pieces, which need not have the same names."""
    names = sorted({name for piece in pieces for name in piece.names})
    place = {name: number for number, name in enumerate(names)}
    kind = np.int16 if len(names) < np.iinfo(np.int16).max else np.int32
    codes = [
        np.array([place[name] for name in piece.names] + [-1], dtype=kind)[piece.codes]
        for piece in pieces
    ]
    return Column(tuple(names), np.concatenate(codes))


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


def _selection(
    run: Run, ids: pl.DataFrame, name: str, prompt: Codes, sample: Codes
) -> dict[str, Column]:
    """What curation did with each image of a table: kept or dropped, and by which filter."""
    if not run.has("selection.parquet"):
        return {}
    columns = ["prompt_id", "sample", "kept", "filter"]
    scan(run, "selection.parquet", columns)
    kept, filters, keys = [], [], []
    same = parts.same_order([run.table_path(name), run.table_path("selection.parquet")])
    for rows in _pieces(run, "selection.parquet", columns):
        kept.append(rows["kept"].fill_null(False).to_numpy())
        filters.append(_column(rows["filter"]))
        if not same:
            keys.append(key_of(*_places(rows, ids)))
    chosen, by = np.concatenate(kept), _joined_columns(filters)
    if not len(chosen):
        return {}
    place = np.arange(len(chosen)) if same else align(key_of(prompt, sample), np.concatenate(keys))
    codes = np.where(place < 0, -1, np.where(chosen[place], 0, 1)).astype(np.int8)
    dropped = np.where(codes == 1, by.codes[place], -1).astype(by.codes.dtype)
    return {"kept": Column(KEPT_NAMES, codes), "filter": Column(by.names, dropped)}


def _image_rows(run: Run, ids: pl.DataFrame, name: str, prompt: Codes, sample: Codes) -> Rows:
    """Where the images of a table stand in images.parquet."""
    if not run.has("images.parquet"):
        return np.full(len(prompt), -1, dtype=np.int64)
    scan(run, "images.parquet", list(KEY))
    # the usual case, and much quicker than finding every one
    if parts.same_order([run.table_path(name), run.table_path("images.parquet")]):
        return np.arange(len(prompt), dtype=np.int64)
    places = [_places(rows, ids) for rows in _pieces(run, "images.parquet", list(KEY))]
    return align(key_of(prompt, sample), np.concatenate([key_of(*piece) for piece in places]))


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
