"""Krea 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import ATTENTION, FAMILIES, Family
from t2i_spatial.training.families.text import Text, mask_of

_TURBO_MU = 1.15


@FAMILIES.register("krea2")
class Krea2(Family):
    """Krea 2: states of several layers of Qwen3-VL, which reads the caption in a template.

    Layers are those that its authors advise for long trainings (diffusers'
    `train_dreambooth_lora_krea2.py`): attention with its gates. Levels are logit-normal and shifted
    as the pipeline shifts its steps, as with `krea2_shift` of github.com/kohya-ss/musubi-tuner.
    """

    title = "Krea 2"
    denoisers = ("Krea2Transformer2DModel",)
    levels = "logit_normal"
    attention = (*ATTENTION, "to_gate")
    mlp = ("ff.gate", "ff.up", "ff.down")

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, mask = self.pipe.encode_prompt(
            list(texts),
            device=self.text_device,
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return {"text": text, "text_mask": mask}

    @override
    def as_read(self, text: str) -> str:
        return f"{self.pipe.prompt_template_encode_prefix}{text}"

    @override
    def longest_caption(self) -> tuple[Any, int]:
        tokenizer, limit = super().longest_caption()
        before = self.pipe.prompt_template_encode_start_idx
        return tokenizer, limit + before - self.pipe.prompt_template_encode_num_suffix_tokens

    @override
    def mu(self, tokens: int) -> float:
        return _TURBO_MU if self.pipe.config.is_distilled else super().mu(tokens)

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        pipe = self.pipe
        count, channels, height, width = noisy.shape
        places = pipe.prepare_position_ids(
            text["text"].shape[1], height // pipe.patch_size, width // pipe.patch_size, noisy.device
        )
        output = self.denoiser(
            pipe._pack_latents(noisy, count, channels, height, width),
            encoder_hidden_states=text["text"],
            timestep=time / 1000,
            position_ids=places,
            encoder_attention_mask=mask_of(text, "text"),
            return_dict=False,
        )[0]
        factor = pipe.vae_scale_factor
        unpacked: Tensor = pipe._unpack_latents(output, height * factor, width * factor)
        return unpacked.squeeze(2)
