"""OWL-ViT and OWLv2 through transformers: one image pass for all names, text embedded once.

VISOR's detector is `google/owlvit-base-patch32` with the queries "a photo of a {name}", score
above 0.1 and no suppression (microsoft/VISOR, object detection notebook). As there, every
predicted box has one label: the best of the names asked of that image. Unlike there, boxes are
clipped to the image.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from t2i_spatial.detections import Detections
from t2i_spatial.detectors import DETECTORS
from t2i_spatial.detectors.base import Detector, DetectorSpec
from t2i_spatial.detectors.decode import RawBoxes, cxcywh_to_xyxy, to_detections
from t2i_spatial.detectors.loading import autocast, load_model, load_part, to_device
from t2i_spatial.errors import ModelLoadError, require

if TYPE_CHECKING:
    import torch


MAX_CACHED = 4096
"""Names whose text embeddings are kept; a server is asked for new ones for ever."""


@DETECTORS.register("owl")
class OwlDetector(Detector):
    """OWL-ViT (stretches the image to its square input) and OWLv2 (pads it to a square)."""

    model_types = ("owlvit", "owlv2")
    default_threshold = 0.1
    default_template = "a photo of a {name}"

    def __init__(self, spec: DetectorSpec, device: str = "cpu") -> None:
        super().__init__(spec, device)
        transformers = require("transformers", "detect")
        config = load_part(transformers.AutoConfig, spec.source, spec.revision)
        classes = {
            "owlvit": transformers.OwlViTForObjectDetection,
            "owlv2": transformers.Owlv2ForObjectDetection,
        }
        if config.model_type not in classes:
            raise ModelLoadError(f"{spec.source!r} is a {config.model_type!r} model, not OWL")
        self.model = load_model(classes[config.model_type], spec.source, spec.revision, device)
        processor = load_part(transformers.AutoProcessor, spec.source, spec.revision)
        self.tokenizer = processor.tokenizer
        self.image_processor = processor.image_processor
        self.pads = config.model_type == "owlv2"
        self.max_tokens = config.text_config.max_position_embeddings
        self._core = getattr(self.model, config.model_type)
        if spec.compile:
            self._core.vision_model.compile()
        self._rows: dict[str, int] = {}
        self._refused: dict[str, str | None] = {}
        self._text: torch.Tensor | None = None
        self._cache = threading.Lock()

    def _query(self, name: str) -> str:
        return self.spec.query_template.replace("{name}", name)

    def refuse(self, name: str) -> str | None:
        """The text tower reads a fixed number of tokens; a longer phrase would be cut."""
        if name not in self._refused:
            if len(self._refused) >= MAX_CACHED:
                self._refused = {}
            reason = super().refuse(name)
            if reason is None:
                count = len(self.tokenizer(self._query(name), verbose=False)["input_ids"])
                if count > self.max_tokens:
                    reason = f"the phrase has {count} tokens, this detector reads {self.max_tokens}"
            self._refused[name] = reason
            return reason
        return self._refused[name]

    def _embedded(self, names: Sequence[Sequence[str]]) -> tuple[torch.Tensor, list[list[int]]]:
        """Unit text embeddings and the rows in which each image's names stand.

        A name is encoded once, and alone: together with others its embedding would differ in the
        last digits, and boxes would depend on what was asked before. Threads may ask at the same
        time; what is returned to one does not change when another one adds names, or when a full
        cache is begun anew.
        """
        with self._cache:
            wanted = dict.fromkeys(name for asked in names for name in asked)
            if len(self._rows.keys() | wanted.keys()) > MAX_CACHED:
                self._rows, self._text = {}, None
            new = [name for name in wanted if name not in self._rows]
            for name in new:
                self._add(name)
            assert self._text is not None
            return self._text, [[self._rows[name] for name in asked] for asked in names]

    def _add(self, name: str) -> None:
        import torch

        tokens = self.tokenizer(
            [self._query(name)],
            padding="max_length",
            max_length=self.max_tokens,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        with autocast(self.device, "float32"):
            features = self._core.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).pooler_output
            unit = features / torch.linalg.norm(features, dim=-1, keepdim=True)
        self._text = unit if self._text is None else torch.cat([self._text, unit])
        self._rows[name] = len(self._rows)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(3, height, width) uint8; resizing happens on the device."""
        import torch

        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def forward(
        self,
        prepared: Sequence[torch.Tensor],
        sizes: Sequence[tuple[int, int]],
        names: Sequence[Sequence[str]],
    ) -> RawBoxes:
        """One image pass, then the class head on the cached text of each image's own names."""
        import torch

        text, rows = self._embedded(names)
        most = max(len(asked) for asked in names)
        index = torch.zeros(len(names), most, dtype=torch.long)
        mask = torch.zeros(len(names), most, dtype=torch.bool)
        for i, own in enumerate(rows):
            index[i, : len(own)] = torch.tensor(own)
            mask[i, : len(own)] = True
        index, mask = (t.to(self.device, non_blocking=True) for t in (index, mask))
        pixels = self.image_processor(
            images=to_device(prepared, self.device), device=self.device, return_tensors="pt"
        )["pixel_values"]
        with autocast(self.device, self.spec.dtype):
            grid, _ = self.model.image_embedder(pixels)
        with autocast(self.device, "float32"):
            grid = grid.float()
            tokens = grid.reshape(len(names), -1, grid.shape[-1])
            logits, _ = self.model.class_predictor(tokens, text[index], mask)
            boxes = cxcywh_to_xyxy(self.model.box_predictor(tokens, grid))
            if self.spec.query_mode == "each":
                patches = boxes.shape[1]
                scores = torch.sigmoid(logits).flatten(1)
                labels = torch.arange(most, device=self.device).repeat(len(names), patches)
                boxes = boxes.repeat_interleave(most, dim=1)
            else:
                best = logits.max(dim=-1)
                scores, labels = torch.sigmoid(best.values), best.indices
            return RawBoxes(scores, labels, boxes * self._scale(sizes), sizes, names)

    def _scale(self, sizes: Sequence[tuple[int, int]]) -> torch.Tensor:
        import torch

        sides = [(max(s), max(s)) if self.pads else s for s in sizes]
        scale = torch.tensor([(*s, *s) for s in sides], dtype=torch.float32)
        return scale.to(self.device)[:, None, :]

    def collect(self, raw: RawBoxes) -> list[Detections]:
        """One `Detections` per image, best first."""
        return to_detections(raw, self.spec.threshold, self.spec.nms)
