"""Numbered images with `.txt` captions and a dataset TOML: what kohya-ss sd-scripts read."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.exporter import EXPORTERS, Exporter, Size, write_images

DEFAULT_RESOLUTION = 512
STEP = 64
SMALLEST, LARGEST = 256, 1024


@EXPORTERS.register("kohya")
class Kohya(Exporter):
    """`images/000001.png` beside `images/000001.txt`, and `dataset.toml`.

    The trainer scales an image until it covers the bucket whose shape is the nearest, and cuts off
    what hangs over, be it an object of the caption. So an image whose shape is that of no bucket is
    padded by its outermost pixels to the shape of its bucket: what is cut is padding. `flip_aug` is
    off in the TOML: flipping an image under a caption that says "left" teaches the opposite. Images
    are not cropped at random, for the same reason. `image_dir` is relative to the folder of the
    TOML, so start the trainer there. The format has no per-image weights.
    """

    @override
    def write(self, rows: pl.DataFrame, folder: Path, *, resolution: int | None) -> None:
        images = folder / "images"
        images.mkdir()
        shapes = buckets(resolution or DEFAULT_RESOLUTION)
        names = write_images(
            rows, images, resolution=resolution, pad=lambda size: padded_size(size, shapes)
        )
        for name, text in zip(names, rows["text"], strict=True):
            # one line per caption: the trainer reads the first line only
            line = " ".join(text.split())
            (images / name).with_suffix(".txt").write_text(line + "\n", encoding="utf-8")
        (folder / "dataset.toml").write_text(_toml(resolution or DEFAULT_RESOLUTION), "utf-8")


def buckets(resolution: int) -> list[Size]:
    """The sizes to which the trainer brings images under our TOML, in its order.

    Source: kohya-ss/sd-scripts @ 036907e, `library/model_util.py`, `make_bucket_resolutions`.

    >>> buckets(512)[:3], len(buckets(512))
    ([(256, 832), (256, 896), (256, 960)], 17)
    """
    smallest, largest = _limits(resolution)
    step = _step(resolution)
    side = resolution // step * step
    sizes = {(side, side)}
    for width in range(smallest, largest + 1, step):
        height = min(largest, resolution**2 // width // step * step)
        if height >= smallest:
            sizes |= {(width, height), (height, width)}
    return sorted(sizes)


def padded_size(size: Size, shapes: list[Size]) -> Size:
    """The least size around an image that has the shape of its bucket.

    >>> padded_size((640, 480), buckets(512))
    (640, 498)
    >>> padded_size((512, 512), buckets(512))
    (512, 512)
    """
    width, height = size
    wide, high = min(shapes, key=lambda shape: abs(shape[0] / shape[1] - width / height))
    if width * high < height * wide:
        return math.ceil(height * wide / high), height
    return width, math.ceil(width * high / wide)


def _limits(resolution: int) -> tuple[int, int]:
    """Shortest and longest side of a bucket; the trainer wants the resolution between them."""
    step = _step(resolution)
    return min(SMALLEST, resolution // step * step), max(LARGEST, -(-resolution // step) * step)


def _step(resolution: int) -> int:
    return STEP if resolution >= STEP else 8


def _toml(resolution: int) -> str:
    smallest, largest = _limits(resolution)
    return f"""[general]
caption_extension = ".txt"
shuffle_caption = false
flip_aug = false
random_crop = false

# images have the shapes of these buckets already: nothing but padding is cut off
[[datasets]]
resolution = {resolution}
enable_bucket = true
min_bucket_reso = {smallest}
max_bucket_reso = {largest}
bucket_reso_steps = {_step(resolution)}
bucket_no_upscale = false

[[datasets.subsets]]
image_dir = "images"
num_repeats = 1
"""
