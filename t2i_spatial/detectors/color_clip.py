"""Colour of a box by CLIP, as GenEval does it (djghosh13/geneval, evaluation/evaluate_images.py).

Ten colours, three templates, everything outside the mask set to grey 153, crop to the box, argmax
of the cosine. There is no "none": every box gets one of the ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from t2i_spatial.detectors.boxes import BoxesOf
from t2i_spatial.detectors.clip_model import ClipModel, ClipSpec
from t2i_spatial.scene import COLORS

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

TEMPLATES = (
    "a photo of a {color} {name}",
    "a photo of a {color}-colored {name}",
    "a photo of a {color} object",
)
OUTSIDE = (153, 153, 153)
CROPS = 64


class ClipColor:
    """Names the colour of every box with one CLIP model; classifiers are cached per name."""

    def __init__(self, spec: ClipSpec, device: str = "cpu", dtype: str = "float32") -> None:
        self.clip = ClipModel(spec, device, dtype)
        self.device = device
        self._classifiers: dict[str, torch.Tensor] = {}

    def prepare(self, image: Image.Image) -> Image.Image:
        """The RGB image as it is; crops are made of it."""
        return image

    def classifier(self, name: str) -> torch.Tensor:
        """(10, d): per colour the renormalised mean of the unit template embeddings."""
        import torch

        if name not in self._classifiers:
            texts = [t.format(color=color, name=name) for color in COLORS for t in TEMPLATES]
            mean = self.clip.texts(texts).reshape(len(COLORS), len(TEMPLATES), -1).mean(dim=1)
            self._classifiers[name] = mean / torch.linalg.norm(mean, dim=-1, keepdim=True)
        return self._classifiers[name]

    def measure(
        self, prepared: Sequence[Image.Image], boxes: Sequence[BoxesOf]
    ) -> list[list[str | None]]:
        """Colour word of every box of n images."""
        jobs = [(i, k) for i, own in enumerate(boxes) for k in range(len(own))]
        found: list[list[str | None]] = [[None] * len(own) for own in boxes]
        for start in range(0, len(jobs), CROPS):
            part = jobs[start : start + CROPS]
            crops = [
                self.clip.prepare(crop(prepared[i], boxes[i].boxes[k], boxes[i].mask(k)))
                for i, k in part
            ]
            images = self.clip.images(crops)
            for (i, k), image in zip(part, images, strict=True):
                cosine = self.classifier(boxes[i].labels[k]) @ image
                found[i][k] = COLORS[int(cosine.argmax())]
        return found


def crop(
    image: Image.Image, box: NDArray[Any], mask: NDArray[np.bool_] | None = None
) -> Image.Image:
    """The box cut out, what is outside the mask grey; at least one pixel."""
    if mask is not None:
        blank = Image.new("RGB", image.size, OUTSIDE)
        image = Image.composite(image, blank, Image.fromarray(mask))
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    x1, y1 = min(x1, image.width - 1), min(y1, image.height - 1)
    return image.crop((x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)))
