"""Grounding DINO and MM-Grounding-DINO through transformers' auto class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from t2i_spatial.detectors import DETECTORS
from t2i_spatial.detectors.base import DetectorSpec
from t2i_spatial.detectors.captioned import CaptionedDetector
from t2i_spatial.detectors.loading import autocast, load_model, load_part
from t2i_spatial.detectors.phrase_grounding import Caption, CaptionBuilder
from t2i_spatial.errors import require

if TYPE_CHECKING:
    import torch


@DETECTORS.register("grounding_dino")
class GroundingDinoDetector(CaptionedDetector):
    """`IDEA-Research/grounding-dino-tiny`, `-base`, `openmmlab-community/mm_grounding_dino_*`.

    Images are prepared by the library's Pillow processor, which agrees with the Grounding DINO
    repository bit for bit; its torchvision one does not. Images of one batch have one size:
    padding would change what the backbone sees.
    """

    model_types = ("grounding-dino", "mm-grounding-dino")

    def __init__(self, spec: DetectorSpec, device: str = "cpu") -> None:
        super().__init__(spec, device)
        tf = require("transformers", "detect")
        self.model = load_model(
            tf.AutoModelForZeroShotObjectDetection, spec.source, spec.revision, device
        )
        self.image_processor = load_part(
            tf.AutoImageProcessor, spec.source, spec.revision, backend="pil"
        )
        tokenizer = load_part(tf.AutoTokenizer, spec.source, spec.revision)
        self.builder = caption_builder(tokenizer, self.model.config.max_text_len, spec)
        if spec.compile:
            self.model.model.backbone.compile()

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(3, h, w) float32: resized to the model's short side and normalised."""
        values = self.image_processor(images=image, return_tensors="pt")["pixel_values"]
        tensor: torch.Tensor = values[0]
        return tensor

    def run_model(
        self, pixels: torch.Tensor, captions: Sequence[Caption]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token probabilities and relative boxes of one pass."""
        import torch

        ids, mask = padded(captions, self.device)
        with autocast(self.device, self.spec.dtype):
            out = self.model(
                pixel_values=pixels,
                input_ids=ids,
                attention_mask=mask,
                token_type_ids=torch.zeros_like(ids),
            )
            return torch.sigmoid(out.logits.float()), out.pred_boxes


def caption_builder(tokenizer: Any, most: int, spec: DetectorSpec) -> CaptionBuilder:
    """Captions for a BERT tokenizer."""

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    stop = encode(".")[0]
    return CaptionBuilder(
        encode,
        start=tokenizer.cls_token_id,
        stop=stop,
        end=tokenizer.sep_token_id,
        unknown=tokenizer.unk_token_id,
        most=most,
        template=spec.query_template,
    )


def padded(captions: Sequence[Caption], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, (n, longest); padding changes nothing (it is masked)."""
    import torch

    longest = max(len(caption.ids) for caption in captions)
    ids = torch.zeros(len(captions), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, caption in enumerate(captions):
        ids[i, : len(caption.ids)] = torch.tensor(caption.ids)
        mask[i, : len(caption.ids)] = 1
    return ids.to(device), mask.to(device)
