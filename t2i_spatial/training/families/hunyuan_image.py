"""HunyuanImage 2.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.training.families.base import FAMILIES, JOINT_ATTENTION, Family, numbered
from t2i_spatial.training.families.text import Text, mask_of


@FAMILIES.register("hunyuan_image")
class HunyuanImage(Family):
    """HunyuanImage 2.1: Qwen2.5-VL reads the caption in a template, ByT5 the words in quotes.

    Levels are drawn uniformly and shifted by the scheduler's constant, which is the default of
    `hunyuan_image_train_network.py` (github.com/kohya-ss/sd-scripts). The distilled checkpoint
    predicts jumps between two times (MeanFlow, Geng et al. 2025), not a velocity, and is refused.
    """

    title = "HunyuanImage 2.1"
    denoisers = ("HunyuanImageTransformer2DModel",)
    patch = 1
    attention = JOINT_ATTENTION

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        config = self.denoiser.config
        if config.use_meanflow or config.guidance_embeds:
            raise ModelLoadError(
                "the distilled HunyuanImage cannot be fine-tuned; train the full model and try its "
                "LoRA on the distilled one"
            )

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, mask, glyphs, glyphs_mask = self.pipe.encode_prompt(
            list(texts), device=self.text_device, batch_size=len(texts)
        )
        glyphs = glyphs.to(text.dtype)  # of captions without quotes they are float32
        return {"text": text, "text_mask": mask, "glyphs": glyphs, "glyphs_mask": glyphs_mask}

    @override
    def as_read(self, text: str) -> str:
        return str(self.pipe.prompt_template_encode.format(text))

    @override
    def longest_caption(self) -> tuple[Any, int]:
        pipe = self.pipe
        return pipe.tokenizer, pipe.tokenizer_max_length + pipe.prompt_template_encode_start_idx

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.denoiser(
            noisy,
            timestep=time,
            encoder_hidden_states=text["text"],
            encoder_attention_mask=mask_of(text, "text"),
            encoder_hidden_states_2=text["glyphs"],
            encoder_attention_mask_2=mask_of(text, "glyphs"),
            return_dict=False,
        )[0]
        return output

    @override
    def mlp_layers(self) -> Sequence[str]:
        double = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
        count = self.denoiser.config.num_single_layers
        return [*double, "proj_mlp", *numbered("single_transformer_blocks", count, "proj_out")]
