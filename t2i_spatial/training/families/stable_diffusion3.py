"""SD3 and SD3.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text


@FAMILIES.register("sd3")
class StableDiffusion3(Family):
    """The MMDiT of Esser et al. 2024: three text encoders, of which T5 may be left out."""

    title = "SD3"
    denoisers = ("SD3Transformer2DModel",)
    levels = "logit_normal"
    mlp = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, _, pooled, _ = self.pipe.encode_prompt(
            list(texts),
            None,
            None,
            device=self.text_device,
            do_classifier_free_guidance=False,
        )
        return {"text": text, "pooled": pooled}

    @override
    def longest_caption(self) -> tuple[Any, int]:
        if self.pipe.tokenizer_3 is None:
            return self.pipe.tokenizer, int(self.pipe.tokenizer.model_max_length)
        return self.pipe.tokenizer_3, self.call_default("max_sequence_length")

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.denoiser(
            hidden_states=noisy,
            timestep=time,
            encoder_hidden_states=text["text"],
            pooled_projections=text["pooled"],
            return_dict=False,
        )[0]
        return output
