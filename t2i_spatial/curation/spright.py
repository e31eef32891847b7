"""What captions say about space: counts per relation over a corpus, however large.

After SPRIGHT (Chatterjee et al., "Getting it Right: Improving Spatial Consistency in
Text-to-Image Models"), whose recipe is a share of captions that name relations. The counts look
for the words of the relation vocabulary; they do not parse.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import scan_table
from t2i_spatial.locations import is_url, locate
from t2i_spatial.scene import RELATION_ALIASES, RELATIONS

CHUNK = 50_000
COLUMNS = ("text", "caption", "prompt", "spatial_caption")
"""Columns that are taken for captions, in this order of preference."""

AMBIGUOUS = frozenset({"in", "on", "by", "over", "within"})
"""Words that more often than not say something else ("in the morning"); counted apart."""

LONG = 40
"""Captions of more words are counted as long."""


def _pattern(phrases: Iterable[str]) -> str:
    longest_first = sorted(phrases, key=lambda p: (-len(p), p))
    return r"\b(?:" + "|".join(p.replace(" ", r"\s+") for p in longest_first) + r")\b"


def _phrases() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {relation: {relation} for relation in RELATIONS}
    for phrase, relation in RELATION_ALIASES.items():
        found[relation].add(phrase)
    return found


ALL = _pattern(p for phrases in _phrases().values() for p in phrases)
OF_RELATION = {relation: rf"^(?:{_pattern(phrases)})$" for relation, phrases in _phrases().items()}
CLEAR = rf"^(?:{_pattern(AMBIGUOUS)})$"


def caption_statistics(captions: Iterable[str]) -> dict[str, Any]:
    """Counts over captions, in one pass and flat memory.

    A phrase counts once, as its longest match: "on the left of" is `left of` and not `on`. Words
    that often mean something else (`AMBIGUOUS`) are in the counts of their relation, but do not
    make a caption spatial.

    Returns:
        `captions`; `spatial` (captions with a clear relation word) and `spatial_percent`;
        `relations`: relation -> `captions` that name it and `phrases` in total; `words`: mean
        length; `long`: captions of more than `LONG` words. No captions give zeros, and `None`
        for the mean and the per cent.
    """
    total = spatial = words = long = 0
    named = dict.fromkeys(RELATIONS, 0)
    said = dict.fromkeys(RELATIONS, 0)
    stream = iter(captions)
    while chunk := list(islice(stream, CHUNK)):
        text = pl.DataFrame({"text": chunk}, schema={"text": pl.String}).select(
            pl.col("text").str.to_lowercase()
        )
        found = pl.col("text").str.extract_all(ALL)
        length = pl.col("text").str.split(" ").list.eval(pl.element() != "").list.sum()
        counts = text.select(found.alias("found"), length.alias("length")).with_columns(
            pl.col("found")
            .list.eval(pl.element().str.contains(pattern))
            .list.sum()
            .fill_null(0)
            .alias(relation)
            for relation, pattern in OF_RELATION.items()
        )
        clear = pl.col("found").list.eval(~pl.element().str.contains(CLEAR)).list.any()
        sums = counts.select(
            clear.sum().alias("_spatial"),
            pl.col("length").sum().alias("_words"),
            (pl.col("length") > LONG).sum().alias("_long"),
            *[pl.col(r).sum().alias(r) for r in RELATIONS],
            *[(pl.col(r) > 0).sum().alias(f"_{r}") for r in RELATIONS],
        ).row(0, named=True)
        total += len(chunk)
        spatial += sums["_spatial"] or 0
        words += sums["_words"] or 0
        long += sums["_long"] or 0
        for relation in RELATIONS:
            said[relation] += sums[relation] or 0
            named[relation] += sums[f"_{relation}"] or 0
    return {
        "captions": total,
        "spatial": spatial,
        "spatial_percent": 100 * spatial / total if total else None,
        "words": words / total if total else None,
        "long": long,
        "relations": {r: {"captions": named[r], "phrases": said[r]} for r in RELATIONS},
    }


def format_statistics(found: dict[str, Any]) -> str:
    """The counts for a person."""
    total = found["captions"]
    if not total:
        return "no captions"
    lines = [
        f"{total:,} captions, {found['words']:.1f} words on average, {found['long']:,} of more "
        f"than {LONG}",
        f"{found['spatial']:,} ({found['spatial_percent']:.1f} %) name a spatial relation",
        "",
        f"{'relation':<14}{'captions':>12}{'per cent':>10}{'phrases':>12}",
    ]
    for relation, counts in found["relations"].items():
        share = 100 * counts["captions"] / total
        lines.append(
            f"{relation:<14}{counts['captions']:>12,}{share:>10.2f}{counts['phrases']:>12,}"
        )
    return "\n".join(lines)


def read_captions(path: str | Path, column: str | None = None) -> Iterator[str]:
    """The captions of a file, one at a time.

    Args:
        path: text with one caption per line, JSON lines, CSV or Parquet; COCO captions JSON.
        column: which column, instead of the first of `COLUMNS` that there is.

    Raises:
        InputError: no such file, no such column, or a broken line (says which).
    """
    path = locate(path)
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".csv"):
        return _from_table(path, column)
    if suffix == ".json":
        return _from_coco(path)
    return _from_lines(path, column, json_lines=suffix in (".jsonl", ".ndjson"))


def _from_table(path: Path, column: str | None) -> Iterator[str]:
    try:
        if path.suffix.lower() != ".csv":
            frame = scan_table(path)
        else:
            frame = pl.scan_csv(io.BytesIO(path.read_bytes()) if is_url(path) else path)
        name = _choose(frame.collect_schema().names(), column, path)
        for batch in frame.select(pl.col(name).cast(pl.String)).collect_batches():
            yield from batch[name].drop_nulls()
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def _from_coco(path: Path) -> Iterator[str]:
    try:
        entries = json.loads(path.read_text("utf-8"))["annotations"]
        for entry in entries:
            yield str(entry["caption"])
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no COCO captions: {error!r}") from None


def _from_lines(path: Path, column: str | None, *, json_lines: bool) -> Iterator[str]:
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                if not line.strip():
                    continue
                if json_lines:
                    record = json.loads(line)
                    yield str(record[_choose(list(record), column, path)])
                else:
                    yield line.strip()
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError) as error:
        raise InputError(f"{path}, line {number}: {error}") from None


def _choose(names: list[str], column: str | None, path: Path) -> str:
    for name in COLUMNS if column is None else (column,):
        if name in names:
            return name
    wanted = column or " or ".join(COLUMNS)
    raise InputError(f"{path} has no column {wanted}, found {', '.join(names)}")
