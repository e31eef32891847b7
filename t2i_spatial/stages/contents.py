"""Which pictures a stage has looked at: names do not tell, contents do.

`contents/<stage>.parquet` keeps size, time of change and hash of every picture. Size and time are
a quick look; only where they differ is a picture hashed again, so that a copied run passes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from t2i_spatial import parts
from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.files import read_table
from t2i_spatial.run import Run
from t2i_spatial.tables import KEY, conform, table_to_prompts

Key = tuple[str, int]

CONTENTS = pl.Schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "bytes": pl.Int64,
        "changed": pl.Int64,
        "sha256": pl.String,
    }
)
"""One row per picture; `changed` in nanoseconds, all three null when there was no file."""


class Picture(NamedTuple):
    """What is known of one file."""

    bytes: int | None
    changed: int | None
    sha256: str | None


NOTHING = Picture(None, None, None)


def look(run: Run, images: pl.DataFrame, known: dict[Key, Picture]) -> dict[Key, Picture]:
    """Every picture of an IMAGES table as it is now."""
    rows = list(images.select("prompt_id", "sample", "image").iter_rows())
    places = [None if row[2] is None else run.image_path(row[2]) for row in rows]
    before = [known.get((row[0], row[1]), NOTHING) for row in rows]
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        pictures = list(pool.map(_look_at, places, before, chunksize=64))
    return {(row[0], row[1]): picture for row, picture in zip(rows, pictures, strict=True)}


def _look_at(path: Path | None, known: Picture) -> Picture:
    if path is None:
        return NOTHING
    try:
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) == known[:2]:
            return known
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Picture(stat.st_size, stat.st_mtime_ns, digest)
    except OSError:
        return NOTHING


def look_at_all(run: Run, stage: str) -> Iterator[pl.DataFrame]:
    """CONTENTS of all images of a run as they are now, piece by piece.

    Args:
        stage: what it has seen of them spares a second look.
    """
    table, seen = run.table_path("images.parquet"), _place(run, stage)
    if seen.exists():
        pieces = _beside(table, seen)
    else:
        nothing = pl.DataFrame(schema=CONTENTS)
        pieces = ((shown, nothing) for shown in parts.batches(table, [*KEY, "image"]))
    for shown, known in pieces:
        yield _rows(look(run, shown, _pictures(known)))


def load(run: Run, stage: str) -> dict[Key, Picture] | None:
    """What the stage has seen; `None` when that was not kept."""
    path = _place(run, stage)
    if not path.exists():
        return None
    return _pictures(conform(read_table(path), CONTENTS, path.name))


def store(run: Run, stage: str, pictures: dict[Key, Picture]) -> None:
    """Keep what the stage sees."""
    parts.write(_place(run, stage), _rows(pictures))


def _pictures(table: pl.DataFrame) -> dict[Key, Picture]:
    return {(row[0], row[1]): Picture(*row[2:]) for row in table.iter_rows()}


def _rows(pictures: dict[Key, Picture]) -> pl.DataFrame:
    rows = [(*key, *picture) for key, picture in pictures.items()]
    return pl.DataFrame(rows, schema=CONTENTS, orient="row")


def replaced(seen: dict[Key, Picture], now: dict[Key, Picture]) -> list[Key]:
    """Pictures that are others now. One that is gone is not: what was seen of it still holds."""
    return [
        key
        for key, picture in now.items()
        if picture.sha256 is not None
        and seen.get(key, NOTHING).sha256 not in (None, picture.sha256)
    ]


def require_same(run: Run, stage: str, table: Path) -> None:
    """Refuse to go on with what `stage` saw in pictures that are no longer the same.

    Args:
        table: IMAGES or DETECTIONS of the run, whose pictures are looked at.

    Raises:
        PlanMismatchError: naming how many, and the first.
    """
    place = _place(run, stage)
    if not place.exists():
        return
    others: list[Key] = []
    kept: parts.Writer | None = None
    try:
        for number, (shown, seen) in enumerate(_beside(table, place)):
            known = _pictures(seen)
            now = look(run, shown, known)
            others += replaced(known, now)
            # copied files: their new times make the next look a quick one
            fresh = {
                key: picture
                for key, picture in now.items()
                if picture not in (known.get(key), NOTHING)
                and key in known
                and known[key].sha256 == picture.sha256
            }
            if fresh and kept is None:
                kept = parts.Writer(place)
                for before in itertools.islice(_beside(table, place), number):
                    kept.add(before[1])
            if kept is not None:
                kept.add(_rows(known | fresh))
        refuse_replaced(run, stage, others)
        if kept is not None:
            kept.publish()
    finally:
        if kept is not None:
            kept.drop()


def _beside(table: Path, seen: Path) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Pictures and what was seen of them, piece by piece where both have one order."""
    columns = [*KEY, "image"]
    if parts.same_order([table, seen]):
        for shown, known in zip(parts.batches(table, columns), parts.batches(seen), strict=True):
            yield shown, conform(known, CONTENTS, seen.name)
    else:
        yield read_table(table, columns), conform(read_table(seen), CONTENTS, seen.name)


def asked_names(prompts: pl.DataFrame, vocabulary: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What a detector is asked of the images of every prompt.

    Raises:
        InputError: the vocabulary has an empty name.
    """
    if vocabulary:
        names = tuple(dict.fromkeys(vocabulary))
        if not all(name.strip() for name in names):
            raise InputError("the vocabulary has an empty name")
        return dict.fromkeys(prompts["prompt_id"], names)
    return {
        prompt.id: prompt.scene.names if prompt.scene else ()
        for prompt in table_to_prompts(prompts)
    }


def fingerprint(images: Iterable[pl.DataFrame], asked: Mapping[str, tuple[str, ...]]) -> str:
    """Of which images and names: another set of either makes another plan.

    What is in the pictures is kept beside it.

    Args:
        images: IMAGES, whole or piece by piece.
    """
    digest = hashlib.sha256()
    for some in images:
        for row in some.select(KEY).iter_rows():
            digest.update(json.dumps([*row, *asked.get(row[0], ())]).encode())
    return digest.hexdigest()[:16]


def require_same_names(run: Run, stage: str, prompts: pl.DataFrame) -> None:
    """Refuse boxes of other names than the prompts ask for: they would count as not there.

    Raises:
        PlanMismatchError: the prompts of the run have changed since.
    """
    plan = run.plan(stage)
    if "vocabulary" not in plan or "input" not in plan:
        return  # boxes of another origin
    asked = asked_names(prompts, plan["vocabulary"])
    images = parts.batches(run.table_path("images.parquet"), KEY)
    if plan["input"] != fingerprint(images, asked):
        raise PlanMismatchError(
            f"{run.path}: the prompts or images are not those that {stage!r} has looked for "
            "(another prompt file?); `detect` with --overwrite looks again"
        )


def refuse_replaced(run: Run, stage: str, keys: Iterable[Any]) -> None:
    """Raise `PlanMismatchError` if there are any."""
    keys = list(keys)
    if keys:
        first = f"prompt {keys[0][0]!r}, sample {keys[0][1]}"
        command = "ask" if stage.startswith("ask-") else "detect"
        raise PlanMismatchError(
            f"{run.path}: {len(keys):,} pictures are not those that {stage!r} has looked at "
            f"(first: {first}); put them back, or `{command}` with --overwrite"
        )


def _place(run: Run, stage: str) -> Path:
    return run.path / "contents" / f"{stage}.parquet"
