"""PixArt-α and PixArt-Σ, which predict noise and its variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text


@FAMILIES.register("pixart")
class PixArt(Family):
    """PixArt-α and PixArt-Σ (Chen et al. 2023, 2024): noise prediction with text from T5.

    The predicted variance is not trained, as in diffusers' `train_pixart_controlnet_hf.py`: no
    sampler of today reads it. PixArt-α of 1024 pixels knows the size of the image and its shape.
    """

    title = "PixArt"
    denoisers = ("PixArtTransformer2DModel",)

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, mask, *_ = self.pipe.encode_prompt(
            list(texts),
            do_classifier_free_guidance=False,
            device=self.text_device,
            clean_caption=self.call_default("clean_caption"),
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return {"text": text, "text_mask": mask}

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        sizes: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if self.denoiser.use_additional_conditions:
            height, width = (side * self.pixels_per_latent for side in noisy.shape[-2:])
            sizes["resolution"] = text["text"].new_tensor([height, width]).expand(len(noisy), -1)
            sizes["aspect_ratio"] = text["text"].new_tensor([height / width]).expand(len(noisy), -1)
        output: Tensor = self.denoiser(
            noisy,
            encoder_hidden_states=text["text"],
            encoder_attention_mask=text.get("text_mask"),
            timestep=time,
            added_cond_kwargs=sizes,
            return_dict=False,
        )[0]
        return output[:, : noisy.shape[1]]
