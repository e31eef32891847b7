"""Instance masks as run lengths (COCO's uncompressed counts), beside the boxes they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from t2i_spatial.detections import Detections
from t2i_spatial.errors import InputError

MASKS: pl.Schema = pl.Schema(
    [("prompt_id", pl.String), ("sample", pl.Int32), ("masks", pl.List(pl.List(pl.UInt32)))]
)
"""One row per image: the mask of every box of `detections/<name>.parquet`, in its order."""


@dataclass(frozen=True, eq=False)
class MaskedDetections(Detections):
    """Detections of a segmenting model.

    Attributes:
        masks: run lengths of each box's mask, see `encode_mask`.
    """

    masks: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.masks) != len(self.labels):
            raise InputError(f"{len(self.masks)} masks for {len(self.labels)} boxes")


def encode_mask(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Run lengths down the columns, zeros first, of a (height, width) mask.

    >>> encode_mask(np.array([[0, 1], [1, 1]], dtype=bool))
    (1, 3)
    """
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return tuple(np.diff(np.concatenate([[0], edges, [mask.size]])).tolist())


def decode_mask(counts: Sequence[int], width: int, height: int) -> NDArray[np.bool_]:
    """The inverse of `encode_mask`.

    Raises:
        InputError: the run lengths do not fill the image.
    """
    lengths = np.asarray(counts, dtype=np.int64)
    if lengths.sum() != width * height:
        raise InputError(f"a mask of {lengths.sum()} pixels does not fit a {width}x{height} image")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape((height, width), order="F")
