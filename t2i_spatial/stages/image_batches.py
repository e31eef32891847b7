"""Images of a run as batches of one size, read in threads while the model works."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import polars as pl

from t2i_spatial.images import ImageUnreadableError, read_image
from t2i_spatial.locations import locate
from t2i_spatial.run import Run
from t2i_spatial.tables import IMAGE_MISSING, IMAGE_UNREADABLE, KEY, SCORED

SHARD_IMAGES = 64
SHARD_PIXELS = 128_000_000
"""At most this much is decoded at a time (and once more ahead): 128 megapixels are 384 MB."""


class Item(NamedTuple):
    """One readable image of a run.

    `asked` is what the stage wants to know of it, `row` its place in the table of images.
    """

    prompt_id: str
    sample: int
    image: str
    path: str
    width: int
    height: int
    asked: Any
    row: int


class Loaded(NamedTuple):
    """A decoded image as the model wants it, or the status and reason why there is none."""

    item: Item
    size: tuple[int, int]
    prepared: Any
    status: str = SCORED
    reason: str | None = None


def items_of(run: Run, images: pl.DataFrame, asked: Callable[[dict[str, Any]], Any]) -> list[Item]:
    """The `scored` rows of an IMAGES table; `asked(row)` may be `None` to leave one out."""
    items = []
    for number, row in enumerate(images.iter_rows(named=True)):
        if row["status"] == SCORED and (wanted := asked(row)) is not None:
            items.append(
                Item(
                    row["prompt_id"],
                    row["sample"],
                    row["image"],
                    str(run.image_path(row["image"])),
                    row["width"] or 0,
                    row["height"] or 0,
                    wanted,
                    number,
                )
            )
    return items


def plan_shards(items: Sequence[Item], images: int | None = None) -> list[list[Item]]:
    """Shards in table order, cut where the row numbers say.

    Thus an image that appears later, or is not asked about any more, changes its own shard only,
    and what is in the others need not be looked at again.
    """
    images = images or SHARD_IMAGES
    shards: list[list[Item]] = []
    place, pixels = -1, 0
    for item in items:
        own = item.width * item.height
        if item.row // images != place or pixels + own > SHARD_PIXELS:
            shards.append([])
            place, pixels = item.row // images, 0
        shards[-1].append(item)
        pixels += own
    return shards


def drop_other_shards(
    run: Run, stage: str, shards: Sequence[Sequence[Item]], again: set[tuple[str, int]]
) -> None:
    """Forget finished shards of other images than planned now, and those with one of `again`."""
    finished = run.shards(stage)
    finished.drop_broken()
    for number in sorted(finished.finished()):
        rows = finished.read(number).select(KEY).rows()
        planned = [(i.prompt_id, i.sample) for part in shards[number : number + 1] for i in part]
        if sorted(rows) != sorted(planned) or not again.isdisjoint(rows):
            finished.drop(number)


class ImageReader:
    """Decodes and prepares images in worker threads.

    Args:
        prepare: what the model wants of a decoded RGB image.
        threads: `None` takes one per CPU, at most 16.
    """

    def __init__(self, prepare: Callable[[Any], Any], threads: int | None = None) -> None:
        self._prepare = prepare
        self._pool = ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1))
        self._ahead: dict[tuple[str, int], Future[Loaded]] = {}

    def prefetch(self, items: Sequence[Item]) -> None:
        """Start on images that will be asked for next."""
        for item in items:
            key = (item.prompt_id, item.sample)
            if key not in self._ahead:
                self._ahead[key] = self._pool.submit(self._load, item)

    def read(self, items: Sequence[Item]) -> Iterator[Loaded]:
        """The images in order, each as soon as it and those before it are ready."""
        self.prefetch(items)
        futures = [self._ahead.pop((item.prompt_id, item.sample)) for item in items]
        while futures:
            yield futures.pop(0).result()

    def _load(self, item: Item) -> Loaded:
        try:
            image = read_image(item.path)
            return Loaded(item, image.size, self._prepare(image))
        except ImageUnreadableError as error:
            status = IMAGE_UNREADABLE if locate(item.path).exists() else IMAGE_MISSING
            return Loaded(item, (item.width, item.height), None, status, str(error))


def by_size(loaded: Sequence[Loaded], most: int) -> list[list[Loaded]]:
    """Model batches of at most `most` images, each of one true size; order within a size kept."""
    groups: dict[tuple[int, int], list[Loaded]] = {}
    for entry in loaded:
        groups.setdefault(entry.size, []).append(entry)
    return [
        members[k : k + most] for members in groups.values() for k in range(0, len(members), most)
    ]
