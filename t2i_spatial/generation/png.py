"""PNG files that say how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from t2i_spatial.files import atomic_write
from t2i_spatial.locations import is_remote

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def write_png(path: Path, image: Image.Image, metadata: Mapping[str, object]) -> None:
    """Write `image` whole or not at all, with `metadata` as text chunks.

    Raises:
        T2ISpatialError: the disk is full or not writable.
    """
    info = PngInfo()
    for key, value in metadata.items():
        text = str(value)
        if text.isascii():
            info.add_text(key, text)
        else:
            info.add_itxt(key, text)
    with atomic_write(path) as file:
        image.save(file, "PNG", pnginfo=info)


def is_whole(path: Path) -> bool:
    """Whether the file is there and, on this machine, has the first and last bytes of a PNG."""
    if is_remote(path):
        return path.exists()  # what a store has was uploaded whole
    try:
        with path.open("rb") as file:
            start = file.read(len(_SIGNATURE))
            file.seek(0, 2)
            if file.tell() < len(_SIGNATURE) + len(_END):
                return False
            file.seek(-len(_END), 2)
            return start == _SIGNATURE and file.read() == _END
    except OSError:
        return False
