"""What is looked at in a Parquet file of detections before it is read in slices."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.interchange.label_spelling import matched_labels
from t2i_spatial.numbering import sample_grid
from t2i_spatial.tables import KEY


def names_of_labels(path: Path, prompts: pl.DataFrame) -> dict[str, str]:
    """Label -> name of the prompts for the whole file; see `labels.matched_labels`.

    Raises:
        InputError: no label is a name of the prompts, or boxes are fractions of their images.
    """
    found = parts.scan(path).select("detections").explode("detections").drop_nulls()
    labels = found.select(pl.col("detections").struct.field("label").unique())
    corner = pl.col("detections").struct.field("box").list.max()
    largest = found.select(corner.max()).collect(engine="streaming").item()
    if largest is not None and 0 < largest <= 1:
        raise InputError(
            f"{path.name}: no box reaches beyond 1, so they are fractions of their images; "
            "multiply them by width and height"
        )
    known = labels.collect(engine="streaming").to_series().drop_nulls().sort().to_list()
    return matched_labels(known, prompts, path.name)


def check_samples(path: Path) -> None:
    """Refuse sample numbers that do not count images within their prompt.

    Raises:
        InputError: they are seeds or an index over all images, which would ask for many more
            images than there are.
    """
    scan = parts.scan(path).select(KEY)
    counts = (
        scan.group_by("prompt_id")
        .len()
        .select(pl.len().alias("prompts"), pl.col("len").max(), pl.col("len").sum().alias("images"))
    )
    prompts, most, images = counts.collect(engine="streaming").row(0)
    numbers = scan.select(pl.col("sample").unique()).collect(engine="streaming").to_series()
    if (
        images
        and sample_grid(images, prompts, most, numbers.drop_nulls().to_list()).kind != "counted"
    ):
        raise InputError(
            f"{path.name}: the sample numbers do not count the images of each prompt (there are "
            f"{len(numbers):,} numbers for at most {most:,} images of one prompt); number them "
            "from 0 within each prompt"
        )
