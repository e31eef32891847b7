"""open_clip models with their weights, or an error: never random ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from t2i_spatial.detectors.loading import autocast, weights_hash
from t2i_spatial.errors import ModelLoadError, require

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ClipSpec:
    """An open_clip model.

    Attributes:
        model: architecture ("ViT-L-14"), "local-dir:FOLDER" or "hf-hub:ORG/REPO".
        pretrained: tag ("openai") or weight file; not for the last two forms.
    """

    model: str = "ViT-L-14"
    pretrained: str | None = "openai"

    @classmethod
    def parse(cls, text: str) -> ClipSpec:
        """Read "ViT-L-14/openai", "ViT-L-14=FILE", "local-dir:FOLDER" or "hf-hub:ORG/REPO".

        >>> ClipSpec.parse("ViT-B-32/laion2b_s34b_b79k")
        ClipSpec(model='ViT-B-32', pretrained='laion2b_s34b_b79k')
        """
        if text.startswith(("local-dir:", "hf-hub:")):
            return cls(text, None)
        for mark in ("=", "/"):
            model, found, pretrained = text.partition(mark)
            if found:
                return cls(model, pretrained)
        return cls(text)

    def plan(self) -> dict[str, Any]:
        """What decides the numbers, for `run.json`."""
        local = self.pretrained if self.pretrained else self.model.removeprefix("local-dir:")
        weights = weights_hash(local) if Path(local).exists() else None
        return {"model": self.model, "pretrained": self.pretrained, "weights": weights}


class ClipModel:
    """One CLIP on one device; text embeddings are kept.

    Raises:
        ModelLoadError: the weights are not there or do not fit.
    """

    def __init__(self, spec: ClipSpec, device: str = "cpu", dtype: str = "float32") -> None:
        open_clip = require("open_clip", "color")
        self.device = device
        self.dtype = dtype
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                self.model, self.transform = open_clip.create_model_from_pretrained(
                    spec.model,
                    pretrained=spec.pretrained,
                    device=device,
                    force_quick_gelu=spec.pretrained == "openai",
                )
            self.tokenizer = open_clip.get_tokenizer(spec.model)
        except (RuntimeError, ValueError, OSError, KeyError, UserWarning) as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelLoadError(
                f"open_clip model {spec.model!r} with weights {spec.pretrained!r} cannot be "
                f"loaded: {line} (without a network give MODEL=FILE or local-dir:FOLDER)"
            ) from None
        self.model.eval().requires_grad_(False)
        self._texts: dict[str, torch.Tensor] = {}

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(3, side, side) float32: the model's own preprocessing."""
        tensor: torch.Tensor = self.transform(image)
        return tensor

    def images(self, prepared: Sequence[torch.Tensor]) -> torch.Tensor:
        """Unit image embeddings, (n, d) float32."""
        import torch

        with autocast(self.device, self.dtype):
            batch = torch.stack(list(prepared)).to(self.device)
            return self.model.encode_image(batch, normalize=True).float()

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit text embeddings, (n, d) float32; every distinct text is embedded once, and alone.

        Together with others its last digits would depend on them, hence on what came before.
        """
        import torch

        for text in dict.fromkeys(texts):
            if text not in self._texts:
                with autocast(self.device, "float32"):
                    tokens = self.tokenizer([text]).to(self.device)
                    found = self.model.encode_text(tokens, normalize=True).float()
                self._texts[text] = found[0]
        return torch.stack([self._texts[text] for text in texts])
