"""Mask2Former through transformers: a closed vocabulary with masks, as GenEval uses it.

GenEval's own weights are mmdet's; `facebook/mask2former-swin-small-coco-instance` are others of
the same architecture and data, so calibrate before comparing to published numbers. The decision
follows mmdet 2.x (`MaskFormerFusionHead.instance_postprocess`): the 100 best (query, class)
pairs; score = class probability times mean mask probability inside the mask; box = extent of the
mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from t2i_spatial.detections import Detections
from t2i_spatial.detectors import DETECTORS
from t2i_spatial.detectors.base import Detector, DetectorSpec, no_detections
from t2i_spatial.detectors.loading import autocast, load_model, load_part, to_device
from t2i_spatial.detectors.masks import MaskedDetections, encode_mask
from t2i_spatial.detectors.vocabularies import GENEVAL_NAMES
from t2i_spatial.errors import nearest, require

if TYPE_CHECKING:
    import torch

MOST = 100
"""Boxes per image before the threshold (mmdet's `max_per_image`)."""

ALIASES = {
    **{own: coco for coco, own in GENEVAL_NAMES.items()},
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
"""Other spellings of COCO's classes: GenEval's, and those of VOC that some checkpoints use."""


@dataclass
class RawMasks:
    """Class probabilities (n, q, c) and mask logits (n, q, h, w) of a batch, on the device."""

    classes: torch.Tensor
    masks: torch.Tensor
    sizes: Sequence[tuple[int, int]]
    names: Sequence[Sequence[str]]


@DETECTORS.register("mask2former")
class Mask2FormerDetector(Detector):
    """Instance segmentation with the classes of its checkpoint; other names are refused."""

    model_types = ("mask2former",)
    default_threshold = 0.3

    def __init__(self, spec: DetectorSpec, device: str = "cpu") -> None:
        super().__init__(spec, device)
        tf = require("transformers", "detect")
        self.model = load_model(
            tf.Mask2FormerForUniversalSegmentation, spec.source, spec.revision, device
        )
        self.image_processor = load_part(tf.AutoImageProcessor, spec.source, spec.revision)
        labels = self.model.config.id2label
        self.classes = {_class_name(labels[index]): index for index in sorted(labels)}
        if spec.compile:
            self.model.model.pixel_level_module.compile()

    def refuse(self, name: str) -> str | None:
        """Only the classes of the checkpoint, in COCO's or GenEval's spelling, can be asked."""
        if _class_name(name) in self.classes:
            return None
        hint = nearest(_class_name(name), self.classes)
        return f"not among this detector's {len(self.classes)} classes; {hint}"

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(3, height, width) uint8; resizing happens on the device."""
        import torch

        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def forward(
        self,
        prepared: Sequence[torch.Tensor],
        sizes: Sequence[tuple[int, int]],
        names: Sequence[Sequence[str]],
    ) -> RawMasks:
        """One pass for all classes."""
        inputs = self.image_processor(
            images=to_device(prepared, self.device), device=self.device, return_tensors="pt"
        )
        with autocast(self.device, self.spec.dtype):
            out = self.model(pixel_values=inputs["pixel_values"].to(self.device))
        with autocast(self.device, "float32"):
            classes = out.class_queries_logits.float().softmax(dim=-1)[..., :-1]
            return RawMasks(classes, out.masks_queries_logits.float(), sizes, names)

    def collect(self, raw: RawMasks) -> list[Detections]:
        """One `MaskedDetections` per image, best first."""
        with autocast(self.device, "float32"):
            return [
                self._one(raw.classes[i], raw.masks[i], raw.sizes[i], raw.names[i])
                for i in range(len(raw.sizes))
            ]

    def _one(
        self,
        classes: torch.Tensor,
        masks: torch.Tensor,
        size: tuple[int, int],
        names: Sequence[str],
    ) -> Detections:
        import torch

        width, height = size
        wanted = {self.classes[_class_name(name)]: name for name in reversed(names)}
        scores, order = classes.flatten().topk(min(MOST, classes.numel()))
        query, label = order // classes.shape[1], order % classes.shape[1]
        asked = torch.isin(label, torch.tensor(sorted(wanted), device=label.device))
        # the mask factor is at most 1, so weaker classes cannot pass the threshold
        keep = (scores > self.spec.threshold) & asked
        scores, query, label = scores[keep], query[keep], label[keep]
        if not len(scores):
            return no_detections(width, height)
        logits = torch.nn.functional.interpolate(
            masks[query][:, None], size=(height, width), mode="bilinear", align_corners=False
        )[:, 0]
        inside = logits > 0
        area = inside.sum(dim=(1, 2))
        scores = scores * (logits.sigmoid() * inside).sum(dim=(1, 2)) / (area + 1e-6)
        kept = torch.nonzero((scores > self.spec.threshold) & (area > 0))[:, 0]
        kept = kept[scores[kept].argsort(descending=True, stable=True)]
        boxes = _extents(inside[kept])
        if self.spec.nms is not None and len(kept):
            from torchvision.ops import batched_nms

            best = batched_nms(boxes, scores[kept], label[kept], self.spec.nms)
            kept, boxes = kept[best], boxes[best]
        pixels = inside[kept].cpu().numpy()
        return MaskedDetections(
            tuple(wanted[int(index)] for index in label[kept]),
            scores[kept].double().cpu().numpy(),
            boxes.double().cpu().numpy(),
            width,
            height,
            masks=tuple(encode_mask(mask) for mask in pixels),
        )


def _class_name(name: str) -> str:
    key = " ".join(name.lower().replace("_", " ").split())
    return ALIASES.get(key, key)


def _extents(masks: torch.Tensor) -> torch.Tensor:
    """Tight `xyxy` boxes of (n, h, w) masks; the far edges lie one past the last pixel."""
    import torch

    columns, rows = masks.any(dim=1).int(), masks.any(dim=2).int()
    ends = [
        columns.argmax(dim=1),
        rows.argmax(dim=1),
        columns.shape[1] - columns.flip(1).argmax(dim=1),
        rows.shape[1] - rows.flip(1).argmax(dim=1),
    ]
    return torch.stack(ends, dim=1).float()
