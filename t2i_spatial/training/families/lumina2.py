"""Lumina-Image 2.0, whose time runs from noise to image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text, encode_both_ways, mask_of


@FAMILIES.register("lumina2")
class Lumina2(Family):
    """Lumina-Image 2.0 (Qin et al. 2025): Gemma 2 reads a system prompt before every caption.

    The empty caption goes without it, in `finetune.py` of github.com/Alpha-VLLM/Lumina-Image-2.0 as
    in the pipeline's negative prompt. Levels are logit-normal as there (`transport/transport.py`,
    "lognorm") and shifted as the pipeline shifts its steps. diffusers' script
    (`train_dreambooth_lora_lumina2.py`) shifts them towards the image instead.
    """

    title = "Lumina 2"
    denoisers = ("Lumina2Transformer2DModel",)
    levels = "logit_normal"
    mlp = ("feed_forward.linear_1", "feed_forward.linear_2", "feed_forward.linear_3")

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        return encode_both_ways(
            self.pipe,
            texts,
            device=self.text_device,
            max_sequence_length=self.call_default("max_sequence_length"),
        )

    @override
    def as_read(self, text: str) -> str:
        return f"{self.pipe.system_prompt} <Prompt Start> {text}"

    @override
    def mu(self, tokens: int) -> float:
        # the pipeline takes the channels of the latents for the tokens of the image
        return super().mu(self.denoiser.config.in_channels)  # type: ignore[union-attr]

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.denoiser(
            noisy,
            timestep=1 - time / 1000,
            encoder_hidden_states=text["text"],
            encoder_attention_mask=mask_of(text, "text"),
            return_dict=False,
        )[0]
        return -output
