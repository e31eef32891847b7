"""Writing a training set: complete or not at all, the same bytes for the same rows."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
from PIL import Image, ImageOps

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.files import remove_tree, upload_folder
from t2i_spatial.images import ImageUnreadableError, is_upright, open_image, read_image
from t2i_spatial.locations import is_url, locate
from t2i_spatial.progress import progress_bar
from t2i_spatial.registry import Registry

EXPORT: dict[str, Any] = {
    "prompt_id": pl.String,
    "sample": pl.Int32,
    "path": pl.String,
    "text": pl.String,
    "score": pl.Float64,
    "margin": pl.Float64,
    "weight": pl.Float64,
    "mirrored": pl.Boolean,
    "crop": pl.List(pl.Float64),
    "width": pl.Int32,
    "height": pl.Int32,
    "objects": pl.List(pl.Struct({"phrase": pl.String, "box": pl.List(pl.Float64)})),
}
"""One row per training image. `path` is the image file and `text` its caption, which is already
that of the mirrored image when `mirrored`; `crop` is the `xyxy` part of the image to take, in
pixels, null for all of it. `width`, `height` and the boxes of `objects` (which the caption names)
are those of the file, before crop, resize and mirroring; they may be null."""

COPIED = {"PNG": ".png", "JPEG": ".jpg"}
"""Formats that every trainer reads; other files are written as PNG."""


class Exporter(ABC):
    """One format of training set."""

    name: ClassVar[str]

    @abstractmethod
    def write(self, rows: pl.DataFrame, folder: Path, *, resolution: int | None) -> None:
        """Write the images and captions of `rows` (EXPORT) into an empty folder.

        Args:
            resolution: side of the square that every image is resized to, whole; `None` keeps
                the size.
        """


EXPORTERS: Registry[type[Exporter]] = Registry(
    "exporter", "t2i_spatial.curation.exporters", classes=(Exporter,)
)
"""All exporters by name."""


def discard(folder: Path) -> None:
    """Remove a training set of ours; anything else is left alone."""
    if (folder / MARK).exists():
        remove_tree(folder)


def export(
    rows: pl.DataFrame,
    folder: str | Path,
    exporter: str,
    *,
    resolution: int | None = None,
    origin: str = "",
    about: str = "",
) -> Path:
    """Write a training set; an older one at the same place is replaced when the new is complete.

    Args:
        rows: EXPORT, in the order of the set.
        folder: where; must not hold anything that is not a training set of ours.
        exporter: name of the format.
        resolution: see `Exporter.write`; at least 8.
        origin: what the rows were chosen by; `read_origin` gives it back.
        about: what else people should know of the set, in Markdown: the end of its `README.md`.

    Raises:
        InputError: no rows, an unknown exporter, or `folder` is something else.
        T2ISpatialError: an image cannot be read, or the disk is full; `folder` is untouched then.
    """
    if len(rows) == 0:
        raise InputError("nothing to export: no image was kept")
    if resolution is not None and resolution < 8:
        raise InputError(f"resolution must be at least 8 pixels, got {resolution}")
    writer = EXPORTERS[exporter]()
    folder = locate(folder)
    require_replaceable(folder)
    if is_url(folder):
        with tempfile.TemporaryDirectory(prefix=".t2i-spatial-set-") as scratch:
            options: dict[str, Any] = {"resolution": resolution, "origin": origin}
            publish(export(rows, Path(scratch) / "set", exporter, **options), folder)
        return folder
    try:
        if folder.exists() and not (folder / MARK).exists():
            folder.rmdir()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            writer.write(rows.select(list(EXPORT)), new, resolution=resolution)
            if about:
                with (new / "README.md").open("a", encoding="utf-8") as file:
                    file.write(f"\n{about}\n")
            (new / MARK).write_text(f"{exporter}\n{origin}\n", "utf-8")
            _swap(new, folder, Path(scratch) / "old")
    except (OSError, pl.exceptions.ComputeError) as error:  # polars says so of a full disk
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise T2ISpatialError(f"cannot write {folder}: {reason}") from error
    return folder


def require_replaceable(folder: Path) -> None:
    """Refuse a place that holds anything but a training set of ours.

    Raises:
        InputError: it does.
    """
    if not folder.exists() or (folder / MARK).exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise InputError(f"{folder} exists and is not a curated set; choose another --output")


def publish(folder: Path, target: Path) -> None:
    """Put a finished training set of this machine in the place of one on a store.

    While the files travel, the mark says that the set is unfinished: no origin is its own then.

    Raises:
        InputError: `target` is something else.
    """
    require_replaceable(target)
    mark = (folder / MARK).read_text("utf-8")
    (target / MARK).write_text(f"{mark.splitlines()[0]}\n{UNFINISHED}\n", "utf-8")
    names = upload_folder(folder, target, without=MARK)
    for path in target.rglob("*"):
        if path.name != MARK and str(path).removeprefix(f"{target}/") not in names:
            path.unlink(missing_ok=True)
    (target / MARK).write_text(mark, "utf-8")


def read_origin(folder: Path) -> str:
    """The `origin` that a training set was exported with; empty for one that has none."""
    mark = folder / MARK
    lines = mark.read_text("utf-8").split("\n") if mark.is_file() else []
    return lines[1] if len(lines) > 1 else ""


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Put `new` in the place of `folder`; on failure the old one goes back."""
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise


UNFINISHED = "unfinished"
MARK = ".t2i-spatial-export"
"""File that says a folder is ours to replace; its content: name of the exporter, origin."""


Size = tuple[int, int]


def write_image(
    row: Mapping[str, Any],
    target: Path,
    *,
    resolution: int | None,
    suffix: str | None = None,
    pad: Callable[[Size], Size] | None = None,
) -> str:
    """Write the image of an EXPORT row as `target` with the fitting suffix; returns the file name.

    A PNG or JPEG in RGB that lies upright is copied byte for byte unless it has to change;
    everything else is decoded and written as PNG, 8-bit RGB, without metadata.

    Args:
        suffix: ".png" to write JPEG files as PNG, too.
        pad: from the size of an image to the size that it gets by repeating its outermost pixels.

    Raises:
        T2ISpatialError: the image cannot be read, or has another size than the row says: its
            boxes would be those of another picture.
    """
    if is_url(row["path"]):
        with _fetched(row["path"]) as here:
            return write_image(
                {**row, "path": here}, target, resolution=resolution, suffix=suffix, pad=pad
            )
    path, mirrored, crop = row["path"], row["mirrored"], row["crop"]
    found = None if mirrored or crop is not None else _copyable(row, resolution, pad)
    if found and suffix in (None, found):
        named = target.with_name(target.name + found)
        shutil.copyfile(path, named)
        return named.name
    try:
        image = read_image(path)
    except ImageUnreadableError as error:
        raise T2ISpatialError(f"cannot export an image: {error}") from None
    known = (row["width"], row["height"])
    if None not in known and image.size != known:
        raise T2ISpatialError(
            f"{path} has {image.width} x {image.height} pixels, but its boxes are those of "
            f"{known[0]} x {known[1]}; was it resized?"
        )
    if crop is not None:
        image = image.crop(tuple(round(v) for v in crop))  # type: ignore[arg-type]
    if resolution is not None and image.size != (resolution, resolution):
        image = image.resize((resolution, resolution), Image.Resampling.LANCZOS)
    if mirrored:
        image = ImageOps.mirror(image)
    if pad is not None:
        image = padded(image, pad(image.size))
    named = target.with_name(target.name + ".png")
    image.save(named)
    return named.name


@contextlib.contextmanager
def _fetched(url: str) -> Iterator[str]:
    """A picture of a store as a file of this machine, under its own name."""
    source = locate(url)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / source.name
        if source.exists():
            here.write_bytes(source.read_bytes())
        yield str(here)


def padded(image: Image.Image, size: Size) -> Image.Image:
    """An image in the middle of a larger one whose rest repeats its outermost pixels."""
    across, down = size[0] - image.width, size[1] - image.height
    if not across and not down:
        return image
    left, top = across // 2, down // 2
    pixels = np.pad(
        np.asarray(image), ((top, down - top), (left, across - left), (0, 0)), mode="edge"
    )
    return Image.fromarray(pixels)


def common_suffix(rows: pl.DataFrame, resolution: int | None) -> str:
    """ ".jpg" when all images of a set can be copied as JPEG files, else ".png"."""
    changed = (pl.col("mirrored") | pl.col("crop").is_not_null()).any()
    if rows.select(changed).item():
        return ".png"
    known = rows.select("path", "width", "height").unique().iter_rows(named=True)
    return (
        ".jpg"
        if all(_copyable(row, resolution, whole=False) == ".jpg" for row in known)
        else ".png"
    )


def write_images(
    rows: pl.DataFrame,
    folder: Path,
    *,
    resolution: int | None,
    pad: Callable[[Size], Size] | None = None,
) -> list[str]:
    """All images of `rows` into `folder`, numbered in order; their file names."""
    digits = max(6, len(str(len(rows))))
    names = []
    with progress_bar(len(rows), "export") as bar:
        for number, row in enumerate(rows.iter_rows(named=True), 1):
            target = folder / f"{number:0{digits}}"
            names.append(write_image(row, target, resolution=resolution, pad=pad))
            bar.update(1)
    return names


def placed_objects(row: Mapping[str, Any], resolution: int | None) -> list[dict[str, Any]]:
    """The objects of an EXPORT row with their boxes in pixels of the image as it is written.

    >>> row = {"objects": [{"phrase": "cat", "box": [20, 10, 40, 30]}], "crop": [10, 0, 60, 50],
    ...        "width": 100, "height": 50, "mirrored": True}
    >>> placed_objects(row, 100)
    [{'phrase': 'cat', 'box': [40.0, 20.0, 80.0, 60.0]}]
    """
    if not row["objects"] or row["width"] is None or row["height"] is None:
        return []
    left, top, right, bottom = row["crop"] or (0, 0, row["width"], row["height"])
    width, height = right - left, bottom - top
    across, down = (resolution / width, resolution / height) if resolution else (1.0, 1.0)
    placed = []
    for item in row["objects"]:
        x1, y1, x2, y2 = item["box"]
        x1, x2 = (x1 - left) * across, (x2 - left) * across
        if row["mirrored"]:
            x1, x2 = width * across - x2, width * across - x1
        box = [x1, (y1 - top) * down, x2, (y2 - top) * down]
        box = [round(float(v), 2) for v in box]
        if box[0] < box[2] and box[1] < box[3]:
            placed.append({"phrase": item["phrase"], "box": box})
    return placed


def _copyable(
    row: Mapping[str, Any],
    resolution: int | None,
    pad: Callable[[Size], Size] | None = None,
    *,
    whole: bool = True,
) -> str | None:
    """Suffix under which the file can be copied as it is, or `None` when it must be rewritten.

    Args:
        whole: look at the pixels, not only at the head of the file.
    """
    try:
        with open_image(row["path"]) as image:
            fits = resolution is None or image.size == (resolution, resolution)
            known = (row["width"], row["height"])
            fits = fits and (None in known or image.size == known)
            fits = fits and (pad is None or pad(image.size) == image.size)
            if (
                fits
                and is_upright(image)
                and image.mode == "RGB"
                and "transparency" not in image.info
            ):
                if whole:
                    image.load()
                return COPIED.get(image.format or "")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return None  # read_image says what is wrong
    return None
