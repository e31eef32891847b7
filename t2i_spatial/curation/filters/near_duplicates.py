"""Exact and near duplicates. A scene and its mirror image are never the same.

Near means a perceptual hash (pHash, 64 bits) within `distance`, and the same colours in the same
places: other hashes are not used, because aHash and dHash call many scenes equal to their mirror
image, and pHash alone looks at grey values only, which do not change when a red and a green ball of
the same brightness are exchanged. Images of different captions are the same only if every pixel is.
"""

from __future__ import annotations

import hashlib
import tempfile
from typing import Any, ClassVar

import numpy as np
import polars as pl
import scipy.fft
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter, Measure
from t2i_spatial.curation.look_alikes import PLACE, SIDE, Sameness, first_look_alikes
from t2i_spatial.tables import KEY

ASKED = ("text", "subject", "relation", "object", "a_label", "b_label")
"""Columns that say what an image shows; where one of them differs, only equal pixels count."""

MEGABYTE = 1_000_000


def perceptual_hash(image: Image.Image) -> int:
    """The 64 bits of pHash as an unsigned integer.

    The lowest 8 x 8 frequencies of the grey image at 32 x 32 pixels, each above their median or
    not: the bits of `imagehash.phash` (JohannesBuchner/imagehash 4.3.2).
    """
    grey = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    low = scipy.fft.dctn(np.asarray(grey, dtype=np.float64))[:8, :8]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) mean colours."""
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))


def _fingerprint(image: Image.Image) -> tuple[int, bytes]:
    return perceptual_hash(image), thumbnail(image).tobytes()


def _digest(image: Image.Image) -> tuple[bytes]:
    digest = hashlib.blake2b(repr(image.size).encode(), digest_size=16)
    digest.update(image.tobytes())
    return (digest.digest(),)


FINGERPRINT = Measure({"phash": pl.UInt64, "thumbnail": pl.Binary}, _fingerprint)
DIGEST = Measure({"pixels": pl.Binary}, _digest)


@FILTERS.register("exact_duplicates")
class ExactDuplicates(Filter):
    """The first of all images with the same pixels, whatever their files look like."""

    adjective: ClassVar[str] = "different"
    measures: ClassVar[tuple[Measure, ...]] = (DIGEST,)

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame:
        """`pixels_like`: the first image with the same pixels, null for that one itself."""
        label = pl.format("{}, sample {}", *KEY)
        first = label.first().over("pixels")
        return survivors.select(*KEY, pl.when(first != label).then(first).alias("pixels_like"))

    @override
    def keep(self) -> pl.Expr:
        return pl.col("pixels_like").is_null()

    @override
    def reason(self) -> pl.Expr:
        return pl.format("the same pixels as {}", "pixels_like")


@FILTERS.register("near_duplicates")
class NearDuplicates(Filter):
    """The first of a group of images that look the same.

    An image is refused when an earlier one that stays has the same pixels, or the same caption and
    the same look: within `distance` bits of pHash, on average at most `colour` (of 0-255) and in
    no place more than `place` away in colour, and not closer to its mirror image. The look is a
    thumbnail of 16 x 16 colours; for `place` a change of the whole image (its brightness) is taken
    out first. `memory` is how many megabytes the search may take; the result does not depend on
    it.
    """

    adjective: ClassVar[str] = "distinct"
    measures: ClassVar[tuple[Measure, ...]] = (FINGERPRINT, DIGEST)

    distance: int = Field(4, ge=0, le=12)
    colour: float = Field(20.0, ge=0, le=255)
    place: float = Field(PLACE, ge=0, le=255)
    memory: int = Field(1000, ge=1)

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame:
        """`duplicate_of`: an earlier image that looks the same, null when there is none."""
        names = survivors.collect_schema().names()
        asked = [pl.col(name) for name in ASKED if name in names]
        said = pl.struct(asked).rank("dense") if asked else pl.lit(0)
        rows = survivors.select(
            *KEY, "phash", said.cast(pl.Int64).alias("said"), pl.col("pixels").rank("dense")
        ).collect()
        earlier = near_duplicates(
            rows["phash"].to_numpy(),
            _thumbnails(survivors, len(rows), self.memory * MEGABYTE // 2),
            distance=self.distance,
            colour=self.colour,
            place=self.place,
            captions=rows["said"].to_numpy(),
            pixels=rows["pixels"].to_numpy(),
            memory=self.memory * MEGABYTE // 2,
        )
        place = np.flatnonzero(earlier >= 0)
        found = rows[earlier[place]].select(pl.format("{}, sample {}", *KEY).alias("duplicate_of"))
        return pl.concat([rows[place].select(KEY), found], how="horizontal").lazy()

    @override
    def keep(self) -> pl.Expr:
        return pl.col("duplicate_of").is_null()

    @override
    def reason(self) -> pl.Expr:
        return pl.format("looks like {}", "duplicate_of")


def near_duplicates(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    *,
    distance: int = 4,
    colour: float = 20.0,
    place: float = PLACE,
    captions: NDArray[Any] | None = None,
    pixels: NDArray[Any] | None = None,
    memory: int = 1000 * MEGABYTE,
) -> NDArray[np.int64]:
    """For each image the first kept earlier one that looks the same, or -1.

    Args:
        hashes: (n,) pHash of each image.
        thumbnails: (n, SIDE, SIDE, 3); may be mapped from a file.
        distance: bits of the hash that may differ.
        colour: mean absolute difference of the thumbnails that is allowed.
        place: largest difference in any place of the thumbnails that is allowed, in any channel,
            after the mean difference of the channel is taken out.
        captions: (n,) a number per caption; images of two captions do not look the same. By
            default all have one.
        pixels: (n,) equal where all pixels are equal; such images are the same whatever their
            captions.
        memory: bytes that the search may take beside its arguments.

    An image that is a duplicate never makes another one a duplicate. Nothing for no images.
    """
    count = len(hashes)
    groups = np.zeros(count, np.int64) if captions is None else captions.astype(np.int64)
    return first_look_alikes(
        hashes,
        thumbnails,
        Sameness(distance, colour, place),
        groups=groups,
        pixels=None if pixels is None else pixels.astype(np.int64),
        memory=memory,
    )


def _thumbnails(survivors: pl.LazyFrame, count: int, memory: int) -> NDArray[np.uint8]:
    """(count, SIDE, SIDE, 3), in memory or, when there are too many, in a file without a name."""
    size = SIDE * SIDE * 3
    table = survivors.select("thumbnail")
    if count * size <= memory:
        joined = b"".join(table.collect()["thumbnail"])
        return np.frombuffer(joined, np.uint8).reshape(-1, SIDE, SIDE, 3)
    with tempfile.TemporaryFile() as file:
        for part in table.collect_batches(maintain_order=True):
            file.write(b"".join(part["thumbnail"]))
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=(count, SIDE, SIDE, 3))
