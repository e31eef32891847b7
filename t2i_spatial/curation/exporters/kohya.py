"""Numbered images with `.txt` captions and a dataset TOML: what kohya-ss sd-scripts read."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.exporter import EXPORTERS, Exporter, write_images

DEFAULT_RESOLUTION = 512


@EXPORTERS.register("kohya")
class Kohya(Exporter):
    """`images/000001.png` beside `images/000001.txt`, and `dataset.toml`.

    `flip_aug` is off in the TOML: flipping an image under a caption that says "left" teaches the
    opposite. Images are not cropped at random, for the same reason. `image_dir` is relative to
    the folder of the TOML, so start the trainer there. The format has no per-image weights.
    """

    @override
    def write(self, rows: pl.DataFrame, folder: Path, *, resolution: int | None) -> None:
        images = folder / "images"
        images.mkdir()
        names = write_images(rows, images, resolution=resolution)
        for name, text in zip(names, rows["text"], strict=True):
            # one line per caption: the trainer reads the first line only
            line = " ".join(text.split())
            (images / name).with_suffix(".txt").write_text(line + "\n", encoding="utf-8")
        (folder / "dataset.toml").write_text(_toml(resolution or DEFAULT_RESOLUTION), "utf-8")


def _toml(resolution: int) -> str:
    return f"""[general]
caption_extension = ".txt"
shuffle_caption = false
flip_aug = false
random_crop = false

[[datasets]]
resolution = {resolution}
enable_bucket = true

[[datasets.subsets]]
image_dir = "images"
num_repeats = 1
"""
