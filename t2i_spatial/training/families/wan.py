"""Wan, which makes a picture as a video of one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text, with_zeros, without_zeros


@FAMILIES.register("wan")
class Wan(Family):
    """Wan 2.1 and Wan 2.2 5B (Wan Team 2025) on single frames: text from UMT5, zeros for padding.

    Levels are logit-normal, as in its report, and shifted by the scheduler's constant. The two
    experts of Wan 2.2 A14B share the noise levels and would need a LoRA each; they are refused.
    """

    title = "Wan"
    denoisers = ("WanTransformer3DModel",)
    levels = "logit_normal"
    mlp = ("ffn.net.0.proj", "ffn.net.2")

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        if pipe.config.boundary_ratio is not None:
            raise ModelLoadError(
                "a Wan of two experts cannot be fine-tuned; those of one are 2.1 and 2.2 5B"
            )

    @property
    @override
    def pixels_per_latent(self) -> int:
        return int(self.pipe.vae_scale_factor_spatial)

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, _ = self.pipe.encode_prompt(
            list(texts),
            do_classifier_free_guidance=False,
            device=self.text_device,
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return without_zeros(text)

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        if self.pipe.config.expand_timesteps:  # a time for every token
            height, width = noisy.shape[-2:]
            time = time[:, None].expand(-1, (height // 2) * (width // 2))
        output: Tensor = self.denoiser(
            noisy.unsqueeze(2),
            time,
            with_zeros(text, self.call_default("max_sequence_length")),
            return_dict=False,
        )[0]
        return output.squeeze(2)
