"""Kolors."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES
from t2i_spatial.training.families.stable_diffusion import StableDiffusionXL


@FAMILIES.register("kolors")
class Kolors(StableDiffusionXL):
    """SDXL's UNet on the last but one layer of ChatGLM, as in `KolorsPipeline`."""

    title = "Kolors"
    paired = False

    @override
    def longest_caption(self) -> tuple[Any, int]:
        return self.pipe.tokenizer, self.call_default("max_sequence_length")
