"""Candidates of the curate stage, from a run, a COCO annotation file or a detections file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from t2i_spatial import parts
from t2i_spatial.curation.box_captions import SAME_OBJECT
from t2i_spatial.curation.candidates import join_candidates
from t2i_spatial.curation.coco_annotations import read_coco
from t2i_spatial.curation.object_pairs import area, intersection, make_pairs
from t2i_spatial.errors import InputError
from t2i_spatial.files import scan_table
from t2i_spatial.locations import ABSOLUTE, inner_path, is_url
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages.prompts_in_turn import InTurn
from t2i_spatial.tables import KEY, SCORED, prompts_to_table

SLICE = 262_144
"""Images joined at a time: a row group as polars writes them."""


def run_candidates(
    run: Run,
    protocol: str,
    name: str = "main",
    second: str | None = None,
    columns: Path | None = None,
    *,
    scratch: Path | None = None,
    size: int | None = None,
) -> pl.LazyFrame:
    """The images of a run with their verdicts (see `curation.candidates`), read when needed.

    A run of more than `size` (`SLICE`) images whose tables are in one order, as the stages write
    them, is joined slice by slice into `scratch`, so that memory does not grow with it.

    Args:
        protocol: whose verdicts.
        name: which detections (for `n_objects`).
        second: detections of a second detector, which the protocol judges too; adds
            `second_correct` and `second_verdict`.
        columns: Parquet or CSV file with `prompt_id`, `sample` and columns of one's own.

    Raises:
        InputError: a table is missing, or `columns` has no key or names that are taken.
    """
    for table, command in (
        ("prompts.parquet", "generate"),
        ("images.parquet", "generate"),
        (f"verdicts/{protocol}.parquet", f"score --protocol {protocol}"),
    ):
        if not run.has(table):
            raise InputError(f"{run.path} has no {table} yet; run `t2i-spatial {command}` first")
    if name != "main":
        _require_detections(run, name)
    boxes = f"detections/{name}.parquet"
    prompts = scan_table(run.path / "prompts.parquet")
    images = scan_table(run.path / "images.parquet")
    others = [scan_table(run.path / "verdicts" / f"{protocol}.parquet")]
    if run.has(boxes):
        others.append(scan_table(run.path / boxes))
    folder = str(run.path)
    size = size or SLICE
    names = ["images.parquet", f"verdicts/{protocol}.parquet", *([boxes] if run.has(boxes) else [])]
    total = parts.count(run.path / "images.parquet")
    if scratch is not None and total > size and parts.same_order([run.path / n for n in names]):
        turn = InTurn(run.prompts())
        for number, start in enumerate(range(0, total, size)):
            tables = [table.slice(start, size) for table in others]
            some = images.slice(start, size).collect()
            asked = turn.of(some["prompt_id"]).lazy()
            part = join_candidates(some.lazy(), asked, *tables, folder=folder).collect()
            part.write_parquet(scratch / f"{number:06}.parquet")
        candidates = pl.scan_parquet(scratch / "*.parquet")
    else:
        candidates = join_candidates(images, prompts, *others, folder=folder)
    if second is not None:
        candidates = candidates.join(
            _second_opinion(run, protocol, second), on=KEY, how="left", maintain_order="left"
        )
    if columns is not None:
        candidates = _with_columns(candidates, columns)
    return candidates


def run_pairs(run: Run, name: str, min_score: float, min_area: float) -> pl.LazyFrame:
    """Every pair of detected boxes of every image of a run (`curation.scop.make_pairs`).

    Raises:
        InputError: the run has no such detections.
    """
    _require_detections(run, name)
    detections = scan_table(run.path / "detections" / f"{name}.parquet")
    return detection_pairs(detections, str(run.path), min_score, min_area)


def coco_candidates(annotations: Path, images: Path, min_area: float) -> pl.LazyFrame:
    """Every pair of annotated boxes of a COCO file.

    Raises:
        InputError: see `curation.coco.read_coco`.
    """
    objects, pictures = read_coco(annotations, images)
    return make_pairs(objects, pictures, min_area=min_area)


def file_candidates(
    path: Path, images: Path | None, prompts: str | None, min_score: float, min_area: float
) -> pl.LazyFrame:
    """Every pair of boxes of a detections file.

    Raises:
        InputError: see `interchange.read_detections` and `prompts.load_prompts`.
    """
    from t2i_spatial.interchange import read_detections
    from t2i_spatial.prompts import load_prompts

    table = prompts_to_table(load_prompts(prompts, parse=False) if prompts else [])
    folder = path.parent if images is None else images
    detections = read_detections(path, table)
    if detections["width"].is_null().any() or detections["height"].is_null().any():
        missing = detections.filter(pl.col("width").is_null() | pl.col("height").is_null())
        key = missing.select(KEY).row(0)
        raise InputError(f"{path}: curation needs width and height of every image; none for {key}")
    _tell_outside(detections["image"].drop_nulls().to_list(), folder, path)
    return detection_pairs(detections.lazy(), str(folder), min_score, min_area)


def _tell_outside(images: Sequence[str], folder: Path, source: Path) -> None:
    """Say so when a file of detections names images that lie elsewhere: they would be exported."""
    root = folder
    if not is_url(folder):
        root = Path(os.path.normpath(Path.cwd() / folder))
    outside = [image for image in images if inner_path(root, image) is None]
    if outside:
        note(
            f"{source.name}: {len(outside):,} of {len(images):,} images lie outside {folder}, the "
            f"first is {outside[0]}"
        )


def detection_pairs(
    detections: pl.LazyFrame, folder: str, min_score: float, min_area: float
) -> pl.LazyFrame:
    """Pairs of the boxes of a DETECTIONS table with at least `min_score`.

    A box that a better one of its name covers (IoU above `SAME_OBJECT`) is the same object again
    and makes no pairs. The `prompt_id` of a pair is `<prompt id>_<sample>` of its image.
    """
    scored = detections.filter(pl.col("status") == SCORED).with_columns(
        pl.format("{}_{}", *KEY).alias("image_id")
    )
    image = pl.col("image")
    absolute = image.str.contains(ABSOLUTE)
    pictures = scored.select(
        "image_id",
        "image",
        pl.when(absolute | image.is_null())
        .then(image)
        .otherwise(pl.lit(f"{folder}/") + image)
        .alias("path"),
        "width",
        "height",
    )
    box = pl.col("box")
    x1, y1, x2, y2 = (box.list.get(i, null_on_oob=True) for i in range(4))
    objects = (
        scored.select("image_id", "detections")
        .explode("detections")
        .filter(pl.col("detections").is_not_null())
        .unnest("detections")
        .filter(pl.col("score") >= min_score)
        .select(
            "image_id",
            pl.int_range(pl.len(), dtype=pl.Int64).over("image_id").alias("object_id"),
            "label",
            "score",
            x1.alias("x"),
            y1.alias("y"),
            (x2 - x1).alias("w"),
            (y2 - y1).alias("h"),
        )
    )
    return make_pairs(_distinct(objects), pictures, min_area=min_area)


def _distinct(objects: pl.LazyFrame) -> pl.LazyFrame:
    names = ("score", "x", "y", "w", "h", "object_id")
    others = objects.select("image_id", "label", *[pl.col(n).alias(f"b_{n}") for n in names])
    both = objects.rename({n: f"a_{n}" for n in names}).join(others, on=["image_id", "label"])
    better = (pl.col("b_score") > pl.col("a_score")) | (
        (pl.col("b_score") == pl.col("a_score")) & (pl.col("b_object_id") < pl.col("a_object_id"))
    )
    common = intersection()
    covered = common > SAME_OBJECT * (area("a") + area("b") - common)
    again = both.filter(better & covered).select(
        "image_id", pl.col("a_object_id").alias("object_id")
    )
    return objects.join(
        again.unique(), on=["image_id", "object_id"], how="anti", maintain_order="left"
    )


def _second_opinion(run: Run, protocol: str, name: str) -> pl.LazyFrame:
    from t2i_spatial.detectors.score_levels import fitted
    from t2i_spatial.metrics.base import PROTOCOLS
    from t2i_spatial.run import detect_stage

    _require_detections(run, name)
    backend = run.plan(detect_stage(name)).get("backend")
    judged = fitted(PROTOCOLS[protocol](), backend).judge(run.prompts(), run.detections(name))
    return judged.lazy().select(
        *KEY,
        pl.col("correct").alias("second_correct"),
        pl.col("reason").alias("second_verdict"),
    )


def _require_detections(run: Run, name: str) -> None:
    if not run.has(f"detections/{name}.parquet"):
        option = "" if name == "main" else f" --name {name}"
        raise InputError(
            f"{run.path} has no detections/{name}.parquet; run `t2i-spatial detect{option}` first"
        )


def _with_columns(candidates: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    try:
        with path.open("rb") as file:
            read = pl.read_csv if path.suffix.lower() == ".csv" else pl.read_parquet
            table = read(file)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if missing := [name for name in KEY if name not in table.columns]:
        raise InputError(f"{path} has no column {missing[0]!r}, found {table.columns}")
    known = set(candidates.collect_schema().names())
    if taken := [name for name in table.columns if name not in KEY and name in known]:
        raise InputError(f"{path}: the column name {taken[0]!r} is taken; choose another one")
    table = table.with_columns(pl.col("prompt_id").cast(pl.String), pl.col("sample").cast(pl.Int32))
    if table.select(KEY).is_duplicated().any():
        twice = table.filter(table.select(KEY).is_duplicated()).select(KEY).row(0)
        raise InputError(f"{path} holds the same image twice: {twice}")
    return candidates.join(table.lazy(), on=KEY, how="left", maintain_order="left")
