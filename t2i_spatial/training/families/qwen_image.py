"""Qwen-Image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from t2i_spatial.generation.families import guidance_of
from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text


@FAMILIES.register("qwen-image")
class QwenImage(Family):
    """A joint transformer that reads the last hidden states of Qwen2.5-VL.

    As `QwenImagePipeline` of diffusers 0.42 calls it and its training script
    (`train_dreambooth_lora_qwen_image.py` at 58eb52c) does: the words of the template that stand
    before the caption are dropped from the text, tokens are masked, latents are patches of 2 x 2 of
    one frame, times run from 0 to 1, noise levels are uniform.
    """

    title = "Qwen-Image"
    denoisers = ("QwenImageTransformer2DModel",)
    mlp = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        # guidance sets captions against a blank: without one this pipeline does not guide
        blank = guidance_of(self.pipe).empty or ""
        text, mask = self.pipe.encode_prompt(
            [text or blank for text in texts],
            self.text_device,
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return {"text": text} if mask is None else {"text": text, "text_mask": mask}

    @override
    def longest_caption(self) -> tuple[Any, int]:
        tokenizer, limit = super().longest_caption()
        return tokenizer, limit + self.pipe.prompt_template_encode_start_idx

    @override
    def as_read(self, text: str) -> str:
        return str(self.pipe.prompt_template_encode.format(text))

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        count, channels, height, width = noisy.shape
        guided = self.denoiser.config.guidance_embeds
        output = self.denoiser(
            hidden_states=self.pipe._pack_latents(noisy, count, channels, height, width),
            timestep=time / 1000,
            guidance=torch.ones(count, device=noisy.device) if guided else None,
            encoder_hidden_states=text["text"],
            encoder_hidden_states_mask=text.get("text_mask"),
            img_shapes=[[(1, height // 2, width // 2)]] * count,
            return_dict=False,
        )[0]
        factor = self.pipe.vae_scale_factor
        unpacked: Tensor = self.pipe._unpack_latents(
            output, height * factor, width * factor, factor
        )
        return unpacked.squeeze(2)
