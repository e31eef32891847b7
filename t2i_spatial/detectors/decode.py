"""From the raw boxes of a batch to validated detections, without a Python loop over boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from t2i_spatial.detections import Detections
from t2i_spatial.errors import T2ISpatialError

if TYPE_CHECKING:
    import torch


@dataclass
class RawBoxes:
    """What a batch of n images gave, still on the device.

    Attributes:
        scores: (n, p) in [0, 1]; 0 where there is nothing.
        labels: (n, p) index into the names asked of that image.
        boxes: (n, p, 4) `xyxy` in pixels of the image, y down; may overshoot the border.
        sizes: n (width, height).
        names: n sequences of asked names.
    """

    scores: torch.Tensor
    labels: torch.Tensor
    boxes: torch.Tensor
    sizes: Sequence[tuple[int, int]]
    names: Sequence[Sequence[str]]


def cxcywh_to_xyxy(boxes: torch.Tensor) -> torch.Tensor:
    """Centre form to corner form along the last axis."""
    import torch

    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def to_detections(raw: RawBoxes, threshold: float, nms: float | None = None) -> list[Detections]:
    """Boxes scored above `threshold`, clipped to the image, best first (ties: model order).

    A box that lies outside the image altogether is dropped. With `nms`, so is one that overlaps a
    better box of the same name by more than that IoU.

    Raises:
        T2ISpatialError: the model gave scores or boxes that are not finite.
    """
    import torch

    if not bool(torch.isfinite(raw.scores).all() & torch.isfinite(raw.boxes).all()):
        raise T2ISpatialError("the model gave scores or boxes that are not finite numbers")
    image, slot = torch.nonzero(raw.scores > threshold, as_tuple=True)
    scores, labels, boxes = (t[image, slot] for t in (raw.scores, raw.labels, raw.boxes))
    if nms is not None and len(scores):
        from torchvision.ops import batched_nms

        most = max(len(asked) for asked in raw.names)
        keep = batched_nms(boxes.float(), scores.float(), image * most + labels, nms)
        keep = keep.sort().values
        image, scores, labels, boxes = (t[keep] for t in (image, scores, labels, boxes))
    owner = image.cpu().numpy()
    score, label = scores.double().cpu().numpy(), labels.cpu().numpy()
    limit = np.array([(w, h, w, h) for w, h in raw.sizes], dtype=np.float64)
    box = np.clip(boxes.double().cpu().numpy(), 0, limit[owner])
    inside = (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
    order = np.lexsort((-score, owner))
    order = order[inside[order]]
    ends = np.searchsorted(owner[order], np.arange(len(raw.sizes) + 1))
    found = []
    for i, (width, height) in enumerate(raw.sizes):
        own = order[ends[i] : ends[i + 1]]
        words = tuple(raw.names[i][k] for k in label[own])
        found.append(Detections(words, score[own], box[own], width, height))
    return found
