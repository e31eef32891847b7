"""Relative depth of boxes: Depth Anything (V1, V2), DPT and other depth models of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from t2i_spatial.detectors.boxes import BoxesOf
from t2i_spatial.detectors.loading import (
    autocast,
    load_model,
    load_part,
    read_config,
    to_device,
    weights_hash,
)
from t2i_spatial.errors import ModelLoadError, require

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

MODEL_TYPES = ("depth_anything", "dpt")
INNER = 0.5
"""Without a mask the depth of a box is taken in its middle, this share of either side."""


@dataclass(frozen=True)
class DepthSpec:
    """A depth model, resolved without loading weights; `metric` ones give metres of distance."""

    source: str
    revision: str | None
    metric: bool
    dtype: str
    weights: str | None

    def plan(self) -> dict[str, Any]:
        """What decides the depths, for `run.json`."""
        return {
            "model": self.source,
            "revision": self.revision,
            "weights": self.weights,
            "dtype": self.dtype,
            "inner": INNER,
        }


def resolve_depth(source: str, *, revision: str | None = None, dtype: str = "float32") -> DepthSpec:
    """Find a depth model by hub id or folder; reads `config.json` only.

    Raises:
        ModelLoadError: not there, not reachable, or not a depth model.
    """
    config, commit = read_config(source, revision)
    if config.get("model_type") not in MODEL_TYPES:
        raise ModelLoadError(
            f"{source!r} is a {config.get('model_type')!r} model, not a depth model this package "
            f"loads: {', '.join(MODEL_TYPES)}"
        )
    metric = config.get("depth_estimation_type") == "metric"
    return DepthSpec(source, commit, metric, dtype, weights_hash(source))


class DepthEstimator:
    """One depth model on one device: depth in [0, 1] per box, larger = nearer.

    The map is scaled to [0, 1] per image (T2I-CompBench does the same before its 3D rule); the
    depth of a box is the median inside its mask, or inside the inner half of the box.
    """

    def __init__(self, spec: DepthSpec, device: str = "cpu") -> None:
        tf = require("transformers", "detect")
        self.spec = spec
        self.device = device
        self.model = load_model(tf.AutoModelForDepthEstimation, spec.source, spec.revision, device)
        self.image_processor = load_part(tf.AutoImageProcessor, spec.source, spec.revision)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(3, height, width) uint8; resizing happens on the device."""
        import torch

        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def maps(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Nearness maps (n, height, width) in [0, 1] of n images of one size.

        A flat map (nothing nearer than anything else) is 0.5 everywhere; one that is not finite
        is NaN everywhere.
        """
        import torch

        height, width = prepared[0].shape[1:]
        inputs = self.image_processor(
            images=to_device(prepared, self.device), device=self.device, return_tensors="pt"
        )
        with autocast(self.device, self.spec.dtype):
            depth = self.model(pixel_values=inputs["pixel_values"].to(self.device)).predicted_depth
        broken = ~torch.isfinite(depth).flatten(1).all(dim=1)[:, None, None]
        with autocast(self.device, "float32"):
            depth = torch.nn.functional.interpolate(
                depth.float()[:, None], size=(height, width), mode="bilinear", align_corners=False
            )[:, 0]
            if self.spec.metric:
                depth = 1 / depth.clamp(min=1e-3)
            low, high = depth.amin(dim=(1, 2), keepdim=True), depth.amax(dim=(1, 2), keepdim=True)
            span = high - low
            scaled = torch.where(span > 1e-6, (depth - low) / span.clamp(min=1e-6), 0.5)
            scaled = scaled.masked_fill(broken, torch.nan)
            maps: NDArray[np.float32] = scaled.cpu().numpy()
            return maps

    def measure(
        self, prepared: Sequence[torch.Tensor], boxes: Sequence[BoxesOf]
    ) -> list[list[float | None] | str]:
        """Depth of every box of n images of one size; why not, for an image that has none."""
        return [
            [box_depth(depth, own.boxes[k], own.mask(k)) for k in range(len(own))]
            if np.isfinite(depth).all()
            else self._not_finite()
            for depth, own in zip(self.maps(prepared), boxes, strict=True)
        ]

    def _not_finite(self) -> str:
        advice = "" if self.spec.dtype == "float32" else "; --dtype float32 may help"
        return f"{self.spec.source} gave depths that are not finite numbers{advice}"


def box_depth(
    depth: NDArray[np.float32], box: NDArray[np.float64], mask: NDArray[np.bool_] | None = None
) -> float | None:
    """Median depth inside the mask, or inside the middle of an `xyxy` box; at least one pixel.

    >>> ramp = np.tile(np.linspace(0, 1, 11, dtype=np.float32), (11, 1))
    >>> round(box_depth(ramp, np.array([0.0, 0.0, 11.0, 11.0])), 3)
    0.5
    """
    if mask is not None and mask.any():
        return float(np.median(depth[mask]))
    height, width = depth.shape
    x1, y1, x2, y2 = box
    dx, dy = (x2 - x1) * (1 - INNER) / 2, (y2 - y1) * (1 - INNER) / 2
    left, right = _pixels(x1 + dx, x2 - dx, width)
    top, bottom = _pixels(y1 + dy, y2 - dy, height)
    return float(np.median(depth[top:bottom, left:right]))


def _pixels(first: float, last: float, limit: int) -> tuple[int, int]:
    start = min(max(round(first), 0), limit - 1)
    return start, min(max(round(last), start + 1), limit)
