"""The boxes of one image as the depth and colour models take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2i_spatial.detectors.masks import decode_mask


@dataclass(frozen=True, eq=False)
class BoxesOf:
    """What was found in one image.

    Attributes:
        labels: n names.
        boxes: (n, 4) float64 `xyxy` pixels.
        width, height: image size.
        masks: n run-length masks, or `None` when the detector gave none.
    """

    labels: tuple[str, ...]
    boxes: NDArray[np.float64]
    width: int
    height: int
    masks: tuple[tuple[int, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def mask(self, index: int) -> NDArray[np.bool_] | None:
        """(height, width) mask of one box, or `None`."""
        if self.masks is None:
            return None
        return decode_mask(self.masks[index], self.width, self.height)
