"""Boxes that somebody else computed: `precomputed:FILE` in place of a detector.

FILE is a detections table in any format that `t2i_spatial.interchange` reads. No model is loaded;
the detect stage takes the rows of its run's images from the file.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.tables import DETECTIONS, DETECTOR_FAILED, KEY, SCORED, conform

PREFIX = "precomputed:"
SIDES = ("width", "height")


def stored_detections(
    path: str | Path, prompts: pl.DataFrame, images: pl.DataFrame
) -> pl.DataFrame:
    """The DETECTIONS rows of a run's readable images from a file.

    An image that the file does not hold is `detector_failed`; rows of other images are left out.

    Raises:
        InputError: the file cannot be read, holds none of the run's images, or speaks of images of
            another size.
    """
    from t2i_spatial.interchange import read_detections

    found = read_detections(path, prompts, known=images)
    readable = images.filter(pl.col("status") == SCORED)
    wanted = readable.select(*KEY, "image")
    sizes = readable.select(*KEY, *[pl.col(side).alias(f"own_{side}") for side in SIDES])
    compared = found.join(sizes, on=KEY, how="inner")
    other = compared.filter(
        pl.any_horizontal(pl.col(side) != pl.col(f"own_{side}") for side in SIDES)
    )
    if other.height:
        row = other.row(0, named=True)
        raise InputError(
            f"{path}: the boxes of {row['prompt_id']!r}, sample {row['sample']} are those of an "
            f"image of {row['width']} x {row['height']} pixels; this run's has "
            f"{row['own_width']} x {row['own_height']}"
        )
    known = found.drop("image").join(wanted, on=KEY, how="inner")
    if found.height and not known.height:
        raise InputError(f"{path} has no boxes for any image of this run")
    absent = wanted.join(found, on=KEY, how="anti").with_columns(
        status=pl.lit(DETECTOR_FAILED),
        reason=pl.lit(f"{Path(path).name} has no row for this image"),
    )
    whole = pl.concat([known, absent], how="diagonal_relaxed")
    return conform(whole, DETECTIONS, "detections")
