"""Sana: linear attention over the latents of a deep-compression autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text, encode_both_ways


@FAMILIES.register("sana")
class Sana(Family):
    """Sana and Sana 1.5 (Xie et al. 2024): Gemma 2 reads an instruction before every caption.

    The empty caption goes without the instruction, as the negative prompt of the pipeline does.
    Levels are logit-normal and shifted by the scheduler's `flow_shift`, as in `configs/sana_config`
    of github.com/NVlabs/Sana. diffusers' script (`train_dreambooth_lora_sana.py`) draws them
    uniformly and reads no shift from that scheduler.
    """

    title = "Sana"
    denoisers = ("SanaTransformer2DModel",)
    levels = "logit_normal"
    mlp = ("ff.conv_inverted", "ff.conv_point")

    @property
    @override
    def patch(self) -> int:  # type: ignore[override]
        return int(self.denoiser.config.patch_size)

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        return encode_both_ways(
            self.pipe,
            texts,
            device=self.text_device,
            max_sequence_length=self.call_default("max_sequence_length"),
            complex_human_instruction=self.call_default("complex_human_instruction"),
        )

    @override
    def as_read(self, text: str) -> str:
        return self._instruction() + text

    @override
    def longest_caption(self) -> tuple[Any, int]:
        tokenizer, limit = super().longest_caption()
        return tokenizer, len(tokenizer.encode(self._instruction())) + limit - 2

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.denoiser(
            noisy,
            encoder_hidden_states=text["text"],
            encoder_attention_mask=text.get("text_mask"),
            timestep=time * self.denoiser.config.timestep_scale,
            return_dict=False,
        )[0]
        return output

    def _instruction(self) -> str:
        return "\n".join(self.call_default("complex_human_instruction"))
