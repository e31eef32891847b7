"""One loaded model at work on shards of images: what detection, depth, colour and scores share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import polars as pl

from t2i_spatial.devices import automatic_batch_size, is_out_of_memory
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.progress import note
from t2i_spatial.stages.image_batches import ImageReader, Item, Loaded, by_size
from t2i_spatial.tables import DETECTOR_FAILED, SCORED


class Failure(NamedTuple):
    """Why a model has no answer for an image."""

    reason: str
    out_of_memory: bool = False


class Looker(Protocol):
    """A loaded model and the table it fills.

    The work is cut in three so that it can overlap, as in `detectors.base.Detector`: `prepare`
    runs in worker threads, `forward` only queues work on the device, `collect` waits for it.
    """

    device: str
    one_size: bool
    """Whether the images of a model batch must have one size."""

    def prepare(self, image: Any) -> Any:
        """The RGB image as the model wants it."""
        ...

    def refuse(self, entry: Loaded) -> str | None:
        """Why this image cannot be looked at, or `None`."""
        ...

    def forward(self, group: Sequence[Loaded]) -> Any:
        """Queue one model batch."""
        ...

    def collect(self, raw: Any) -> Sequence[Any]:
        """Wait for what `forward` queued: one answer, or `Failure`, per image."""
        ...

    def row(self, entry: Loaded, answer: Any) -> dict[str, Any]:
        """The row of one image; `answer` is `None` when `entry.status` is not `scored`."""
        ...


class Lookers(Protocol):
    """Loads a looker on one device; picklable."""

    def __call__(self, device: str) -> Looker:
        """Load the model."""
        ...

    def row(self, entry: Loaded, answer: Any) -> dict[str, Any]:
        """As `Looker.row`, of which no model is needed."""
        ...


@dataclass(frozen=True)
class BatchWorkers:
    """Makes the worker of one device; picklable when its parts are."""

    make: Lookers
    schema: pl.Schema
    batch_size: int | Literal["auto"] = "auto"

    def __call__(self, device: str) -> BatchWorker:
        """Load the model on `device`."""
        return BatchWorker(self.make(device), self.schema, self.batch_size)

    def lost(self, items: Sequence[Item], reason: str) -> pl.DataFrame:
        """Rows of images over which workers died."""
        entries = [
            Loaded(item, (item.width, item.height), None, DETECTOR_FAILED, reason) for item in items
        ]
        return pl.DataFrame([self.make.row(entry, None) for entry in entries], schema=self.schema)


class BatchWorker:
    """Shard of items in, rows of a table out; never raises for what is wrong with one image.

    While the device works on one batch the next is decoded and the last one is turned into rows.
    A batch that does not fit into memory is done in halves, and so are those that follow; one
    that fails otherwise is done in halves until it is known which image is to blame.
    """

    def __init__(
        self, looker: Looker, schema: pl.Schema, batch_size: int | Literal["auto"] = "auto"
    ) -> None:
        self.looker = looker
        self.schema = schema
        self.batch_size = batch_size
        self.reader = ImageReader(looker.prepare)

    def prefetch(self, batch: Sequence[Item]) -> None:
        """Start reading the images of the shard that will follow."""
        self.reader.prefetch(batch)

    def __call__(self, batch: Sequence[Item]) -> pl.DataFrame:
        """The rows of one shard."""
        rows = [
            self.looker.row(entry, answer) for entry, answer in self._look(self.reader.read(batch))
        ]
        return pl.DataFrame(rows, schema=self.schema)

    def _look(self, stream: Iterator[Loaded]) -> Iterator[tuple[Loaded, Any]]:
        queued: tuple[list[Loaded], Any] | None = None
        for group in self._groups(stream):
            if group[0].status != SCORED:
                yield from ((entry, None) for entry in group)
                continue
            raw = self._forward(group)
            if queued is not None:
                yield from self._collect(*queued)
            queued = (group, raw)
        if queued is not None:
            yield from self._collect(*queued)

    def _groups(self, stream: Iterator[Loaded]) -> Iterator[list[Loaded]]:
        """Model batches as soon as they are full; images without a picture on their own."""
        waiting: list[Loaded] = []
        for entry in stream:
            reason = self.looker.refuse(entry) if entry.status == SCORED else entry.reason
            if entry.status != SCORED or reason:
                status = entry.status if entry.status != SCORED else DETECTOR_FAILED
                yield [entry._replace(status=status, reason=reason)]
                continue
            waiting.append(entry)
            most = self._most(entry)
            if len(waiting) >= most:
                yield from self._cut(waiting, most)
                waiting = []
        if waiting:
            yield from self._cut(waiting, self._most(waiting[0]))

    def _cut(self, waiting: Sequence[Loaded], most: int) -> list[list[Loaded]]:
        if self.looker.one_size:
            return by_size(waiting, most)
        return [list(waiting[k : k + most]) for k in range(0, len(waiting), most)]

    def _most(self, example: Loaded) -> int:
        if self.batch_size == "auto":

            def work(count: int) -> None:
                self.looker.collect(self.looker.forward([example] * count))

            size = _try(self.looker.device, lambda: automatic_batch_size(self.looker.device, work))
            self.batch_size = 1 if isinstance(size, Failure) else size
        return int(self.batch_size)

    def _forward(self, group: list[Loaded]) -> Any:
        return _try(self.looker.device, lambda: self.looker.forward(group))

    def _collect(self, group: list[Loaded], raw: Any) -> Iterable[tuple[Loaded, Any]]:
        found = raw
        if not isinstance(raw, Failure):
            found = _try(self.looker.device, lambda: self.looker.collect(raw))
        if not isinstance(found, Failure):
            return [_answered(*pair) for pair in zip(group, found, strict=True)]
        if len(group) == 1:
            return [_answered(group[0], found)]
        half = len(group) // 2
        if found.out_of_memory:
            self.batch_size = min(half, int(self.batch_size))
            note(f"out of memory with {len(group)} images at a time; going on with {half}")
        parts = [group[:half], group[half:]]
        return [pair for part in parts for pair in self._collect(part, self._forward(part))]


def _answered(entry: Loaded, answer: Any) -> tuple[Loaded, Any]:
    if isinstance(answer, Failure):
        return entry._replace(status=DETECTOR_FAILED, reason=answer.reason), None
    return entry, answer


def _try(device: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (RuntimeError, ValueError, MemoryError, T2ISpatialError) as error:
        memory = is_out_of_memory(error)
        if memory and device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Failure(f"out of memory: {lines[0]}" if memory else lines[0], memory)
