"""One loaded detector at work: shards of images in, rows of the DETECTIONS table out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from t2i_spatial.detections import Detections
from t2i_spatial.detectors import DetectorSpec, load_detector
from t2i_spatial.detectors.masks import MASKS, MaskedDetections
from t2i_spatial.devices import automatic_batch_size, is_out_of_memory
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.progress import note
from t2i_spatial.stages.image_batches import ImageReader, Item, Loaded, by_size
from t2i_spatial.tables import DETECTIONS, DETECTOR_FAILED, SCORED

ROWS = pl.Schema({**DETECTIONS, "masks": MASKS["masks"]})
"""What a worker makes: the table and, for segmenting models, the masks."""


@dataclass(frozen=True)
class DetectWorkers:
    """Makes the worker of one device; picklable."""

    spec: DetectorSpec
    batch_size: int | Literal["auto"]

    def __call__(self, device: str) -> DetectWorker:
        """Load the detector on `device`."""
        return DetectWorker(self.spec, device, self.batch_size)


class DetectWorker:
    """One loaded detector: shard of items in, rows of the DETECTIONS table out.

    While the device works on one batch the next is decoded and the last one is turned into rows.
    """

    def __init__(
        self, spec: DetectorSpec, device: str, batch_size: int | Literal["auto"] = "auto"
    ) -> None:
        self.detector = load_detector(spec, device=device)
        self.batch_size = batch_size
        self.reader = ImageReader(self.detector.prepare)

    def prefetch(self, batch: Sequence[Item]) -> None:
        """Start reading the images of the shard that will follow."""
        self.reader.prefetch(batch)

    def __call__(self, batch: Sequence[Item]) -> pl.DataFrame:
        """The rows of one shard; never raises for what is wrong with one image."""
        rows = []
        for entry, found in self._detect(self.reader.read(batch)):
            rows.append(_row(entry, found))
        return pl.DataFrame(rows, schema=ROWS)

    def _detect(self, stream: Iterator[Loaded]) -> Iterator[tuple[Loaded, Detections | None]]:
        queued: tuple[list[Loaded], Any] | None = None
        for group in self._groups(stream):
            if group[0].status != SCORED:
                yield from ((entry, None) for entry in group)
                continue
            raw = self._try_forward(group)
            if queued is not None:
                yield from self._collect(*queued)
            queued = (group, raw)
        if queued is not None:
            yield from self._collect(*queued)

    def _groups(self, stream: Iterator[Loaded]) -> Iterator[list[Loaded]]:
        """Model batches as soon as they are full; images without a picture on their own."""
        waiting: list[Loaded] = []
        for entry in stream:
            reason = self._refusal(entry)
            if entry.status != SCORED or reason:
                status = entry.status if entry.status != SCORED else DETECTOR_FAILED
                yield [entry._replace(status=status, reason=entry.reason or reason)]
                continue
            waiting.append(entry)
            most = self._most(entry)
            if len(waiting) >= most:
                yield from by_size(waiting, most)
                waiting = []
        if waiting:
            yield from by_size(waiting, self._most(waiting[0]))

    def _most(self, example: Loaded) -> int:
        if self.batch_size == "auto":

            def work(count: int) -> None:
                self.detector.collect(self._forward([example] * count))

            size = self._try(lambda: automatic_batch_size(self.detector.device, work))
            self.batch_size = 1 if isinstance(size, _Failure) else size
        return int(self.batch_size)

    def _refusal(self, entry: Loaded) -> str | None:
        for name in entry.item.asked:
            if reason := self.detector.refuse(name):
                return f"{_short(name)}: {reason}"
        return None

    def _forward(self, group: Sequence[Loaded]) -> Any:
        return self.detector.forward(
            [entry.prepared for entry in group],
            [entry.size for entry in group],
            [entry.item.asked for entry in group],
        )

    def _collect(self, group: list[Loaded], raw: Any) -> Iterable[tuple[Loaded, Detections | None]]:
        found = raw if isinstance(raw, _Failure) else self._try(lambda: self.detector.collect(raw))
        if not isinstance(found, _Failure):
            return zip(group, found, strict=True)
        if len(group) == 1:
            return [(group[0]._replace(status=DETECTOR_FAILED, reason=found.reason), None)]
        half = len(group) // 2
        if found.out_of_memory:
            self.batch_size = min(half, int(self.batch_size))
            note(f"out of memory with {len(group)} images at a time; going on with {half}")
        parts = [group[:half], group[half:]]
        return [pair for p in parts for pair in self._collect(p, self._try_forward(p))]

    def _try_forward(self, group: list[Loaded]) -> Any:
        return self._try(lambda: self._forward(group))

    def _try(self, work: Any) -> Any:
        try:
            return work()
        except (RuntimeError, ValueError, MemoryError, T2ISpatialError) as error:
            memory = is_out_of_memory(error)
            if memory and self.detector.device.startswith("cuda"):
                import torch

                torch.cuda.empty_cache()
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return _Failure(f"out of memory: {lines[0]}" if memory else lines[0], memory)


@dataclass(frozen=True)
class _Failure:
    reason: str
    out_of_memory: bool


def _row(entry: Loaded, found: Detections | None) -> dict[str, Any]:
    return {
        "prompt_id": entry.item.prompt_id,
        "sample": entry.item.sample,
        "image": entry.item.image,
        "width": entry.size[0] or None,
        "height": entry.size[1] or None,
        "status": entry.status,
        "reason": entry.reason,
        "detections": None if found is None else found.to_records(),
        "masks": found.masks if isinstance(found, MaskedDetections) else None,
    }


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:37]}...")
