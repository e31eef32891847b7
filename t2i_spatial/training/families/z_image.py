"""Z-Image and Z-Image Turbo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text, join


@FAMILIES.register("z-image")
class ZImage(Family):
    """A single-stream transformer over pictures and captions of any length, given as lists.

    As `ZImagePipeline` of diffusers 0.42 calls it and its training script
    (`train_dreambooth_lora_z_image.py` at 58eb52c) does: the caption is a chat turn read by the
    last but one layer of Qwen3, time runs from noise (0) to image (1), the network predicts image -
    noise, noise levels are uniform.
    """

    title = "Z-Image"
    denoisers = ("ZImageTransformer2DModel",)
    mlp = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        captions, _ = self.pipe.encode_prompt(
            list(texts),
            self.text_device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return join([{"text": caption} for caption in captions])

    @override
    def as_read(self, text: str) -> str:
        message = [{"role": "user", "content": text}]
        return str(
            self.pipe.tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True, enable_thinking=True
            )
        )

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        captions = list(text["text"])
        if "text_mask" in text:
            captions = [item[kept] for item, kept in zip(captions, text["text_mask"], strict=True)]
        output = self.denoiser(
            list(noisy.unsqueeze(2)), (1000 - time) / 1000, captions, return_dict=False
        )[0]
        return -torch.stack(output).squeeze(2)
