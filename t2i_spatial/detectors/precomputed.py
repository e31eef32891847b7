"""Boxes that somebody else computed: `precomputed:FILE` in place of a detector.

FILE is a detections table in any format that `t2i_spatial.interchange` reads; the options of this
"detector" say how, as those of `score --detections` do. No model is loaded; the detect stage takes
the rows of its run's images from the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import polars as pl
from pydantic import Field, ValidationError

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.locations import locate
from t2i_spatial.settings import Location, Option, Settings
from t2i_spatial.tables import DETECTIONS, DETECTOR_FAILED, KEY, SCORED, conform

if TYPE_CHECKING:
    from t2i_spatial.interchange.reading import DetectionFiles

PREFIX = "precomputed:"
SIDES = ("width", "height")


class ReadingOptions(Settings):
    """What can be said of a file of boxes: to `detect` by `--option`, to `score` by options."""

    coco_images: Location | None = Field(
        default=None, description="Images and categories of --detections that are COCO results."
    )
    classes: Annotated[str | None, Option(metavar="coco80|coco91|FILE")] = Field(
        default=None,
        description="What the class numbers of --detections mean; FILE has one name per line.",
    )
    repeated_rows: Literal["refuse", "once"] = Field(
        default="refuse",
        description="Images that stand twice in --detections with the same values: once counts "
        "them once.",
    )
    any_label: bool = Field(
        default=False,
        description="Score --detections though none of their labels is a name of the prompts.",
    )

    def files(self, *paths: Path) -> DetectionFiles:
        """Files that are to be read so."""
        from t2i_spatial.interchange.reading import DetectionFiles

        return DetectionFiles(
            paths, self.coco_images, self.classes, self.repeated_rows, self.any_label
        )


def stored_file(detector: str, options: Mapping[str, Any]) -> DetectionFiles:
    """The file that `precomputed:FILE` names, and how it is to be read.

    Raises:
        InputError: there is no such file, or an option that says nothing of one.
    """
    path = locate(detector.removeprefix(PREFIX)).expanduser()
    if not path.is_file():
        raise InputError(f"no such file of detections: {path}")
    try:
        said = ReadingOptions.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            known = nearest(key, ReadingOptions.model_fields)
            raise InputError(f"{PREFIX}FILE has no option {key!r}; {known}") from None
        raise InputError(f"option {key} of {PREFIX}FILE: {first['msg']}") from None
    return said.files(path)


def stored_detections(
    file: DetectionFiles, prompts: pl.DataFrame, images: pl.DataFrame
) -> pl.DataFrame:
    """The DETECTIONS rows of a run's readable images from a file.

    An image that the file does not hold is `detector_failed`; rows of other images are left out.

    Raises:
        InputError: the file cannot be read, holds none of the run's images, or speaks of images of
            another size.
    """
    found = file.read(prompts, known=images)
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
            f"{file.name}: the boxes of {row['prompt_id']!r}, sample {row['sample']} are those of "
            f"an image of {row['width']} x {row['height']} pixels; this run's has "
            f"{row['own_width']} x {row['own_height']}"
        )
    known = found.drop("image").join(wanted, on=KEY, how="inner")
    if found.height and not known.height:
        raise InputError(f"{file.name} has no boxes for any image of this run")
    absent = wanted.join(found, on=KEY, how="anti").with_columns(
        status=pl.lit(DETECTOR_FAILED),
        reason=pl.lit(f"{file.name} has no row for this image"),
    )
    whole = pl.concat([known, absent], how="diagonal_relaxed")
    return conform(whole, DETECTIONS, "detections")
