"""A detector without weights: "red ball" is the red region of a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage.measure import label, regionprops

from t2i_spatial.detections import Detections
from t2i_spatial.detectors import Detector

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColorBlobs(Detector):
    """Connected regions of the colour that a name begins with; their fill is their score."""

    default_threshold = 0.2

    def refuse(self, name: str) -> str | None:
        if name.split()[0] not in COLORS:
            return f"the name must begin with one of {', '.join(COLORS)}"
        return super().refuse(name)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image, dtype=np.int16))

    def forward(
        self,
        prepared: Sequence[torch.Tensor],
        sizes: Sequence[tuple[int, int]],
        names: Sequence[Sequence[str]],
    ) -> Any:
        batch = torch.stack(list(prepared)).to(self.device)
        colors = torch.tensor(list(COLORS.values()), device=self.device)
        near = (batch[:, None] - colors[:, None, None]).abs().amax(-1) < 60
        return near, sizes, names

    def collect(self, raw: Any) -> list[Detections]:
        near, sizes, names = raw
        return [self._found(*image) for image in zip(near.cpu().numpy(), sizes, names, strict=True)]

    def _found(self, near: Any, size: tuple[int, int], names: Sequence[str]) -> Detections:
        found = []
        for name in names:
            regions = regionprops(label(near[list(COLORS).index(name.split()[0])]))
            for region in regions:
                top, left, bottom, right = region.bbox
                if region.area >= 16 and region.extent > self.spec.threshold:
                    found.append((region.extent, name, (left, top, right, bottom)))
        found.sort(key=lambda entry: -entry[0])
        return Detections(
            tuple(name for _, name, _ in found),
            np.array([score for score, _, _ in found]),
            np.array([box for _, _, box in found], dtype=float).reshape(-1, 4),
            *size,
        )
