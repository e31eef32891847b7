"""Reading images that others made: any mode, any size within limits, never trusted."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from t2i_spatial.errors import InputError, T2ISpatialError

ROUNDING = 0.01
"""How far float images may leave [0, 1]: half precision and resizing do."""
MAX_PIXELS = 178_956_970 // 2
"""Largest accepted image (about 89 megapixels, half of Pillow's bomb limit)."""

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class ImageUnreadableError(T2ISpatialError):
    """The file is not an image, is truncated, or is too large; the message says which."""


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one image as 8-bit RGB, rotated as its EXIF tag says.

    Transparent pixels are laid over white, 16-bit and float greyscale are scaled to their own
    range, CMYK is converted, and of an animation the first frame is taken.

    Raises:
        ImageUnreadableError: missing, not an image, truncated, or more than `max_pixels`.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
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
    except ImageUnreadableError:
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
        top = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
        grey = np.clip(values / top * 255.0, 0, 255).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return image.convert("RGB")


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
