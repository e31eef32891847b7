"""Reading images that others made: any mode, any size within limits, never trusted."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.locations import is_remote, locate
from t2i_spatial.patience import StoreError

ROUNDING = 0.01
"""How far float images may leave [0, 1]: half precision and resizing do."""
MAX_PIXELS = 178_956_970 // 2
"""Largest accepted image (about 89 megapixels, half of Pillow's bomb limit)."""
MAX_BYTES = 640_000_000
"""Largest file that is fetched from a store: more than so many pixels take in 16 bits."""

EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".jxl",
)  # fmt: skip
"""Usual endings of image files."""
_NO_IMAGES = (
    ".txt", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".md", ".parquet", ".npy", ".npz", ".pt",
    ".safetensors", ".yaml", ".yml", ".toml", ".log", ".html", ".py", ".zip", ".tar", ".gz",
)  # fmt: skip
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"
)
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"8BPS", "Photoshop"),
    (b"qoif", "QOI"),
)
_PLUGINS = {
    "HEIC": "HEIC, which needs an optional plugin: pip install pillow-heif",
    "AVIF": "AVIF, which this Pillow does not read: pip install -U pillow",
    "JPEG XL": "JPEG XL, which is not read; convert it to PNG",
    "OpenEXR": "OpenEXR, which is not read; convert it to PNG",
    "TIFF": "a TIFF of a kind that Pillow does not read (several channels of 16 or 32 bits?); "
    "convert it to PNG",
}


class ImageUnreadableError(T2ISpatialError):
    """The file is not an image, is truncated, or is too large; the message says which."""


def image_kind(head: bytes) -> str | None:
    """The kind of image that a file's first 32 bytes begin, or `None`.

    >>> image_kind(b"\\xff\\xd8\\xff\\xe0"), image_kind(b"P6\\n2 2\\n255\\n"), image_kind(b"a cat")
    ('JPEG', 'PPM', None)
    """
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3] in b" \t\r\n#":
        return "PPM"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (
        12,
        40,
        52,
        56,
        64,
        108,
        124,
    ):
        return "BMP"
    return None


def is_image_file(path: Path) -> bool:
    """Whether a regular file is an image: by its ending, or else by how it begins."""
    ending = path.suffix.lower()
    if ending in _NO_IMAGES or not path.is_file():
        return False
    return ending in EXTENSIONS or image_kind(_head(path)) is not None


def _head(path: Path) -> bytes:
    try:
        if is_remote(path):
            return path.read_bytes(32)
        with path.open("rb") as file:
            return file.read(32)
    except OSError:
        return b""


def open_image(path: str | Path) -> Image.Image:
    """An image file as Pillow opens it, not decoded; of a store, its whole content is fetched.

    Raises:
        OSError: no such file, or no image.
        ImageUnreadableError: more than `MAX_BYTES` on a store.
    """
    path = locate(path)
    if not is_remote(path):
        return Image.open(path)
    data = path.read_bytes(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageUnreadableError(f"{path.name}: more than the limit of {MAX_BYTES:,} bytes")
    return Image.open(io.BytesIO(data))


def _opened(path: Path) -> Image.Image:
    """An image file by its content, with the plugin that reads HEIC if there is one."""
    try:
        return open_image(path)
    except UnidentifiedImageError:
        kind = image_kind(_head(path))
        if kind == "HEIC":
            with contextlib.suppress(ImportError):
                importlib.import_module("pillow_heif").register_heif_opener()
                return open_image(path)
        said = _PLUGINS.get(kind or "")
        if said is not None:
            raise ImageUnreadableError(f"{path.name}: {said}") from None
        raise


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one image as 8-bit RGB, rotated as its EXIF tag says.

    Transparent pixels are laid over white, 16-bit and float greyscale are scaled to their own
    range (of floats [0, 1], [0, 255] or [0, 65535]), CMYK is converted, and of an animation the
    first frame is taken.

    Raises:
        ImageUnreadableError: missing, not an image, truncated, or more than `max_pixels`.
        StoreError: it lies on a store that does not answer, which says nothing of the image.
    """
    path = locate(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with _opened(path) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ImageUnreadableError(
                        f"{path.name}: {width}x{height} pixels are more than the limit "
                        f"of {max_pixels:,}"
                    )
                image.load()
                return to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise ImageUnreadableError(f"{path.name}: no such file") from None
    except UnidentifiedImageError:
        raise ImageUnreadableError(f"{path.name}: not an image that Pillow reads") from None
    except Image.DecompressionBombError:
        raise ImageUnreadableError(
            f"{path.name}: more pixels than the limit of {max_pixels:,}"
        ) from None
    except (ImageUnreadableError, StoreError):
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise whatever they like on broken data
        raise ImageUnreadableError(f"{path.name}: cannot be decoded ({error})") from None


def is_upright(image: Image.Image) -> bool:
    """Whether EXIF asks for no rotation or mirroring."""
    return bool(image.getexif().get(ExifTags.Base.Orientation, 1) == 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any Pillow image, converted as `read_image` says; EXIF is not looked at."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, dtype=np.float64)
        top = _top(values, image.mode)
        grey = np.clip(values / top * 255.0, 0, 255).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return image.convert("RGB")


def _top(values: np.ndarray, mode: str) -> float:
    """The value of white.

    Raises:
        InputError: floats that are not finite, or negative.
    """
    if mode.startswith("I;16"):
        return 65535.0
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if mode == "F":
        if not np.isfinite([low, high]).all():
            raise InputError("an image holds values that are not finite")
        if low < -ROUNDING:
            raise InputError(
                f"a float image holds values from {low:.3g} to {high:.3g}; black must be 0"
            )
        if high <= 1 + ROUNDING:
            return 1.0
    return 65535.0 if high > 255 else 255.0


def as_image(image: Any) -> Image.Image:
    """8-bit RGB of one picture in memory.

    Args:
        image: a Pillow image (turned as its EXIF data say; see `to_rgb`), or an array or tensor:
            float (3, h, w) or (h, w, 3) in [0, 1] (to within rounding), uint8 (h, w, 3) or
            (3, h, w).

    Raises:
        InputError: another shape or type, no pixels, or values that are not finite or outside.
    """
    if not isinstance(image, Image.Image):
        return _from_array(_numpy(image))
    if 0 in image.size:
        raise InputError(f"an image must have pixels, got {image.width}x{image.height}")
    return to_rgb(ImageOps.exif_transpose(image))


def _numpy(image: Any) -> np.ndarray:
    if hasattr(image, "detach"):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    array = np.asarray(image)
    if array.dtype.kind in "OSU":
        kind = type(image).__name__
        raise InputError(f"an image must be a Pillow image, an array or a tensor, got {kind}")
    return array


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(f"an image must have shape (3, h, w) or (h, w, 3), got {array.shape}")
    floating = np.issubdtype(array.dtype, np.floating)
    if array.shape[0] == 3 and (array.shape[2] != 3 or floating):
        array = array.transpose(1, 2, 0)
    if array.shape[2] != 3:
        raise InputError(f"an image must have three channels, got shape {array.shape}")
    if floating:
        if not np.isfinite(array).all():
            raise InputError("an image holds values that are not finite")
        if array.min() < -ROUNDING or array.max() > 1 + ROUNDING:
            raise InputError(
                f"an image of floats holds values from {array.min():.3g} to {array.max():.3g}; "
                "they must lie in [0, 1] (of a decoder's output x in [-1, 1], take x / 2 + 0.5)"
            )
        array = (np.clip(array, 0, 1) * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise InputError(f"an image must be float in [0, 1] or uint8, got {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))
