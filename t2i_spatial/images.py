"""Reading images that others made: any mode, any size within limits, never trusted."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from t2i_spatial.errors import T2ISpatialError

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
