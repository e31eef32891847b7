"""Small pictures as data URIs, decoded with the limits that hold for every foreign image."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from t2i_spatial.images import ImageUnreadableError, read_image

BUDGET_BYTES = 24_000_000
"""Largest sum of embedded pictures, so that the file still opens on a phone."""


@dataclass(frozen=True)
class Thumbnail:
    """A picture inside the report; `width` and `height` are those of the picture it shows."""

    uri: str
    width: int
    height: int


def make_thumbnail(path: Path, size: int) -> Thumbnail | str:
    """A WebP of at most `size` pixels on the longer side, or the reason why there is none.

    A picture that is already small is kept lossless, so that 64-pixel images stay sharp.
    """
    try:
        image = read_image(path)
    except ImageUnreadableError as error:
        return str(error)
    width, height = image.size
    small = max(width, height) <= 128
    if max(width, height) > size:
        scale = size / max(width, height)
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    if small:
        image.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    else:
        image.save(buffer, "WEBP", quality=80, method=2)
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumbnail(uri, width, height)


def make_thumbnails(paths: Sequence[Path | None], size: int) -> Iterator[Thumbnail | str | None]:
    """`make_thumbnail` for each path, in order; `None` where there is no path."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(
            lambda path: None if path is None else make_thumbnail(path, size), paths
        )
