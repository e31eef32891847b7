"""Pictures of a run as bytes for the browser: nothing is sent that is not a picture."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from PIL import Image

from t2i_spatial.images import image_kind, read_image

SHOWN_AS_THEY_ARE = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "GIF": "image/gif",
    "WebP": "image/webp",
}
"""Kinds that every browser decodes; others are sent as WebP."""
SMALL_BYTES = 150_000
"""A file up to this size is sent whole where a small picture would do."""
MOST_BYTES = 40_000_000
CACHE_BYTES = 64_000_000


@dataclass(frozen=True)
class Picture:
    """What is sent, and the name of this state of the file."""

    content: bytes
    media_type: str
    etag: str


class Pictures:
    """Reads and shrinks pictures; small ones that were made are kept for a while."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._kept: OrderedDict[str, Picture] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, path: Path, size: int | None) -> Picture:
        """A picture; with `size` at most that many pixels on the longer side where this saves much.

        Raises:
            ImageUnreadableError: missing, not a picture, or too large.
            OSError: the file cannot be read.
        """
        stat = path.stat()
        name = f"{path}\0{stat.st_mtime_ns}\0{stat.st_size}\0{size}"
        etag = '"' + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24] + '"'
        with self._lock:
            if etag in self._kept:
                self._kept.move_to_end(etag)
                return self._kept[etag]
        if stat.st_size <= (SMALL_BYTES if size else MOST_BYTES):
            content = path.read_bytes()
            kind = SHOWN_AS_THEY_ARE.get(image_kind(content[:32]) or "")
            if kind is not None:
                return Picture(content, kind, etag)
        picture = Picture(_webp(path, size), "image/webp", etag)
        self._keep(picture)
        return picture

    def _keep(self, picture: Picture) -> None:
        with self._lock:
            if picture.etag not in self._kept:
                self._kept[picture.etag] = picture
                self._bytes += len(picture.content)
            while self._bytes > self.limit:
                self._bytes -= len(self._kept.popitem(last=False)[1].content)


def _webp(path: Path, size: int | None) -> bytes:
    image = read_image(path)
    if size is not None and max(image.size) > size:
        scale = size / max(image.size)
        target = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85 if size else 95, method=0)
    return buffer.getvalue()
