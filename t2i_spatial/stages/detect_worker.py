"""A detector as `batch_worker` wants it: images in, rows of the DETECTIONS table out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from t2i_spatial.detections import Detections
from t2i_spatial.detectors import DetectorSpec, load_detector
from t2i_spatial.detectors.masks import MASKS, MaskedDetections
from t2i_spatial.stages.image_batches import Loaded
from t2i_spatial.tables import DETECTIONS

ROWS = pl.Schema({**DETECTIONS, "masks": MASKS["masks"]})
"""What a worker makes: the table and, for segmenting models, the masks."""


def detection_row(entry: Loaded, answer: Detections | None) -> dict[str, Any]:
    """A row of `ROWS`."""
    return {
        "prompt_id": entry.item.prompt_id,
        "sample": entry.item.sample,
        "image": entry.item.image,
        "width": entry.size[0] or None,
        "height": entry.size[1] or None,
        "status": entry.status,
        "reason": entry.reason,
        "detections": None if answer is None else answer.to_records(),
        "masks": answer.masks if isinstance(answer, MaskedDetections) else None,
    }


@dataclass(frozen=True)
class DetectLookers:
    """Loads the detector on one device; picklable."""

    spec: DetectorSpec
    row = staticmethod(detection_row)

    def __call__(self, device: str) -> DetectLooker:
        """Load the detector on `device`."""
        return DetectLooker(self.spec, device)


class DetectLooker:
    """One loaded detector; `item.asked` are the names asked of an image."""

    one_size = True
    row = staticmethod(detection_row)

    def __init__(self, spec: DetectorSpec, device: str) -> None:
        self.detector = load_detector(spec, device=device)
        self.device = self.detector.device
        self.prepare = self.detector.prepare

    def refuse(self, entry: Loaded) -> str | None:
        """A name that this detector cannot be asked."""
        for name in entry.item.asked:
            if reason := self.detector.refuse(name):
                return f"{_short(name)}: {reason}"
        return None

    def forward(self, group: Sequence[Loaded]) -> Any:
        """Queue one batch of images of one size."""
        return self.detector.forward(
            [entry.prepared for entry in group],
            [entry.size for entry in group],
            [entry.item.asked for entry in group],
        )

    def collect(self, raw: Any) -> list[Detections]:
        """Wait for the boxes."""
        return self.detector.collect(raw)


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:37]}...")
