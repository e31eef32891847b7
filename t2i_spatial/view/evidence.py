"""The nested parts of the tables, read for the few images that are on the screen.

Rows that lie together are read as a slice, which touches only their pages of the Parquet file;
scattered ones in one pass that decodes the ids of all and the rest of few.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.files import scan_table
from t2i_spatial.run import Run
from t2i_spatial.scene import RELATIONS
from t2i_spatial.tables import KEY
from t2i_spatial.view.index import NO_PROTOCOL, Index, scan

MOST_SLICES = 10
MOST_BOXES = 200
"""Boxes of one image that are sent to the browser; the rest is counted."""

Record = dict[str, Any]


def rows_with(
    run: Run,
    name: str,
    columns: list[str],
    keys: Sequence[tuple[str, int]],
    near: Sequence[int] = (),
) -> dict[tuple[str, int], Record]:
    """Records of a table by prompt and sample; those that it lacks are absent.

    `near` are the row numbers where they may be expected, if anything is known of that: the tables
    of a run are mostly in one order.
    """
    if not run.has(name) or not keys:
        return {}
    table = scan(run, name, [*KEY, *columns])
    if len(near) == len(keys) and min(near) >= 0:
        found = _by_key(_slices(table, near))
        if all(key in found for key in keys):
            return {key: found[key] for key in keys}
    # the ids are decoded first, and everything else only where one of them fits
    wanted = scan_table(run.path / name, parallel="prefiltered")
    fits = pl.col("prompt_id").is_in(list({key[0] for key in keys}))
    return _by_key(wanted.select(*KEY, *columns).filter(fits).collect())


def _slices(table: pl.LazyFrame, rows: Sequence[int]) -> pl.DataFrame:
    """The rows, where they lie in few places together; otherwise none."""
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    pieces = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
    if len(pieces) > MOST_SLICES:
        return table.head(0).collect()
    return pl.concat([table.slice(int(p[0]), len(p)).collect() for p in pieces])


def _by_key(table: pl.DataFrame) -> dict[tuple[str, int], Record]:
    return {(row["prompt_id"], row["sample"]): row for row in table.iter_rows(named=True)}


def evidence_of(
    run: Run, index: Index, rows: Sequence[int], *, with_found: bool = False
) -> list[Record]:
    """What is drawn over and said under these images: size, reason, boxes of the verdict.

    Args:
        with_found: also all boxes of the detector, which are many more.
    """
    keys = [(index.prompts.ids[int(index.prompt[r])], int(index.sample[r])) for r in rows]
    near = [int(index.image[r]) for r in rows]
    verdicts: dict[tuple[str, int], Record] = {}
    if index.protocol != NO_PROTOCOL:
        name = f"verdicts/{index.protocol}.parquet"
        verdicts = rows_with(run, name, ["reason", "evidence"], keys, rows)
    images = rows_with(run, "images.parquet", ["width", "height", "reason"], keys, near)
    found: dict[tuple[str, int], Record] = {}
    if with_found or not images or index.protocol == NO_PROTOCOL:
        columns = ["width", "height", "detections"]
        found = rows_with(run, "detections/main.parquet", columns, keys, near)
    named = _asked(run, index, rows)
    told = []
    for row, key in zip(rows, keys, strict=True):
        image, seen, verdict = images.get(key, {}), found.get(key, {}), verdicts.get(key, {})
        others = seen.get("detections") or ()
        boxes = [_box(b, _role(b, named.get(key[0], {}))) for b in verdict.get("evidence") or ()]
        told.append(
            {
                "row": row,
                "width": image.get("width") or seen.get("width"),
                "height": image.get("height") or seen.get("height"),
                "problem": image.get("reason"),
                "reason": verdict.get("reason"),
                "boxes": [b for b in boxes if b],
                "found": [b for d in others[:MOST_BOXES] if (b := _box(d, "found"))],
                "hidden": max(0, len(others) - MOST_BOXES),
            }
        )
    return told


def _asked(run: Run, index: Index, rows: Sequence[int]) -> dict[str, dict[str, str]]:
    """Prompt id -> object name -> its role in the first relation."""
    ids = list({index.prompts.ids[int(index.prompt[row])] for row in rows})
    table = scan(run, "prompts.parquet", ["prompt_id", "objects", "relations"])
    records = table.filter(pl.col("prompt_id").is_in(ids)).collect()
    return {record["prompt_id"]: roles(record) for record in records.iter_rows(named=True)}


def roles(prompt: Record) -> dict[str, str]:
    """Object name -> "subject" or "object", by the first relation of a row of PROMPTS."""
    relations, objects = prompt.get("relations") or (), prompt.get("objects") or ()
    named = {}
    for role in ("object", "subject"):
        place = relations[0][role] if relations else None
        if place is not None and 0 <= place < len(objects):
            named[objects[place]["name"]] = role
    return named


def _role(record: Record, named: dict[str, str]) -> str:
    if record["role"] in ("subject", "object"):
        return str(record["role"])
    return named.get(record["label"] or "", "other")


def _box(record: Record, role: str) -> Record | None:
    corners = record.get("box")
    if corners is None or len(corners) != 4 or not np.isfinite(corners).all():
        return None
    return {
        "role": role,
        "label": record.get("label") or "",
        "score": record.get("score"),
        "box": corners,
        "color": record.get("color"),
        "depth": record.get("depth"),
    }


def prompt_page(run: Run, prompt_id: str) -> Record:
    """Everything that is known of one prompt: its scene, and of every sample all evidence.

    Every record of `samples` has `sample`, `images` (a row of images.parquet), `verdicts`,
    `detections` and `answers` by name, and `selection`.
    """
    here = pl.col("prompt_id") == prompt_id
    prompts = scan(run, "prompts.parquet").filter(here).collect().to_dicts()
    prompt: Record = prompts[0] if prompts else {"prompt_id": prompt_id, "text": "", "objects": []}
    samples: dict[int, Record] = {}

    def entry(sample: int | None) -> Record:
        fresh: Record = {
            "sample": sample,
            "image": None,
            "verdicts": [],
            "detections": {},
            "answers": {},
        }
        return samples.setdefault(-1 if sample is None else sample, fresh)

    if run.has("images.parquet"):
        images = scan(run, "images.parquet").with_row_index("row").filter(here).collect()
        for row in images.iter_rows(named=True):
            # as text: a browser's numbers have 53 bits
            row["seed"] = None if row["seed"] is None else str(row["seed"])
            entry(row["sample"])["image"] = row
    named = roles(prompt)
    for path in sorted((run.path / "verdicts").glob("*.parquet")):
        for row in scan(run, f"verdicts/{path.name}").filter(here).collect().iter_rows(named=True):
            boxes = [_box(b, _role(b, named)) for b in row.pop("evidence") or ()]
            entry(row["sample"])["verdicts"].append({**row, "boxes": [b for b in boxes if b]})
    for path in sorted((run.path / "detections").glob("*.parquet")):
        table = scan(run, f"detections/{path.name}").filter(here).collect()
        for row in table.iter_rows(named=True):
            found = row["detections"] or ()
            row["detections"] = [b for d in found[:MOST_BOXES] if (b := _box(d, "found"))]
            row["hidden"] = max(0, len(found) - MOST_BOXES)
            entry(row["sample"])["detections"][path.stem] = row
    for judge, sample, record in _answers(run, here):
        entry(sample)["answers"].setdefault(judge, []).append(record)
    if run.has("selection.parquet"):
        for row in scan(run, "selection.parquet").filter(here).collect().iter_rows(named=True):
            entry(row["sample"])["selection"] = row
    return {
        "prompt_id": prompt_id,
        "text": prompt.get("text") or "",
        "tag": prompt.get("tag"),
        "objects": prompt.get("objects") or [],
        "relations": [_spelt(r, prompt) for r in prompt.get("relations") or ()],
        "unparsed": prompt.get("unparsed") or [],
        "metadata": json.loads(prompt["metadata"]) if prompt.get("metadata") else None,
        "roles": named,
        "samples": [samples[key] for key in sorted(samples)],
    }


def _answers(run: Run, here: pl.Expr) -> list[tuple[str, int, Record]]:
    """(judge, sample, answer with the text of its question) of one prompt."""
    told = []
    for path in sorted((run.path / "answers").glob("*.parquet")):
        texts: dict[str, Record] = {}
        if run.has(f"questions/{path.name}"):
            asked = scan(run, f"questions/{path.name}").filter(here).collect()
            texts = {row["question_id"]: row for row in asked.iter_rows(named=True)}
        table = scan(run, f"answers/{path.name}").filter(here).collect()
        for row in table.iter_rows(named=True):
            question = texts.get(row["question_id"], {})
            record = {
                name: row.get(name)
                for name in ("question_id", "rollout", "status", "answer", "p", "reason", "raw")
            }
            record |= {name: question.get(name) for name in ("text", "options", "gold", "skill")}
            told.append((path.stem, row["sample"], record))
    return told


def _spelt(relation: Record, prompt: Record) -> Record:
    """A relation with names in place of numbers."""
    objects: list[Record] = prompt.get("objects") or []

    def name(place: int | None) -> str | None:
        if place is None or not 0 <= place < len(objects):
            return None
        return str(objects[place]["name"])

    return {
        "subject": name(relation["subject"]),
        "relation": relation["relation"],
        "object": name(relation["object"]),
        "second": name(relation.get("second")),
        "negated": bool(relation.get("negated")),
        "known": relation["relation"] in RELATIONS,
    }


def masks_of(run: Run, prompt_id: str, sample: int, detector: str = "main") -> list[list[int]]:
    """Run lengths down the columns of the mask of every box; empty where none are stored."""
    if not run.has(f"masks/{detector}.parquet"):
        return []
    here = (pl.col("prompt_id") == prompt_id) & (pl.col("sample") == sample)
    rows = scan(run, f"masks/{detector}.parquet").filter(here).collect()
    return rows["masks"][0].to_list() if len(rows) and rows["masks"][0] is not None else []
