"""CLIP score of image and prompt: does the picture show the text at all? For curation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from t2i_spatial.detectors.clip_model import ClipModel, ClipSpec
from t2i_spatial.errors import InputError

if TYPE_CHECKING:
    import torch


class ClipScore:
    """Cosine of image and text, in [-1, 1], as T2I-CompBench's CLIPScore before scaling."""

    def __init__(self, spec: ClipSpec, device: str = "cpu", dtype: str = "float32") -> None:
        self.clip = ClipModel(spec, device, dtype)
        self.device = device

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """The model's own preprocessing."""
        return self.clip.prepare(image)

    def __call__(self, prepared: Sequence[torch.Tensor], texts: Sequence[str]) -> list[float]:
        """Score of each prepared image with its text; no images give an empty list.

        Raises:
            InputError: lengths differ.
        """
        if len(prepared) != len(texts):
            raise InputError(f"{len(prepared)} images but {len(texts)} texts")
        if not prepared:
            return []
        cosine = (self.clip.images(prepared) * self.clip.texts(texts)).sum(dim=-1)
        return [float(value) for value in cosine.clamp(-1, 1)]
