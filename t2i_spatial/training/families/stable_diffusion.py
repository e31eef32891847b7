"""UNets: SD 1.x, SD 2.x and the bundled model; SDXL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text


@FAMILIES.register("sd")
class StableDiffusion(Family):
    """A UNet with one text encoder; flow-matching ones are trained as SD3 is."""

    title = "SD 1.x, SD 2.x, flow-matching UNets"
    denoisers = ("UNet2DConditionModel",)
    part = "unet"
    patch = 1
    levels = "logit_normal"
    sized: ClassVar[bool] = False
    """Whether the UNet is told the size and crop of the picture."""
    paired: ClassVar[bool] = False
    """Whether there is a second text encoder."""

    @classmethod
    @override
    def fits(cls, pipe: Any) -> bool:
        if not super().fits(pipe):
            return False
        sized: bool = pipe.unet.config.addition_embed_type == "text_time"
        return (sized, hasattr(pipe, "text_encoder_2")) == (cls.sized, cls.paired)

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, _ = self.pipe.encode_prompt(list(texts), self.text_device, 1, False)
        return {"text": text}

    @override
    def longest_caption(self) -> tuple[Any, int]:
        return self.pipe.tokenizer, int(self.pipe.tokenizer.model_max_length)

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.denoiser(noisy, time, text["text"], return_dict=False)[0]
        return output


@FAMILIES.register("sdxl")
class StableDiffusionXL(StableDiffusion):
    """A UNet with two text encoders and size conditioning; images count as uncropped."""

    title = "SDXL"
    sized = True
    paired = True

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, _, pooled, _ = self.pipe.encode_prompt(
            list(texts), device=self.text_device, do_classifier_free_guidance=False
        )
        if self.pipe.config.get("force_zeros_for_empty_prompt"):
            # guidance sets the caption against zeros then, and not against the embedding of ""
            kept = text.new_tensor([float(item != "") for item in texts])
            text, pooled = text * kept[:, None, None], pooled * kept[:, None]
        return {"text": text, "pooled": pooled}

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        height, width = (side * self.pipe.vae_scale_factor for side in noisy.shape[-2:])
        sizes = noisy.new_tensor([height, width, 0, 0, height, width]).expand(len(noisy), -1)
        added = {"text_embeds": text["pooled"], "time_ids": sizes.to(text["pooled"].dtype)}
        output: Tensor = self.denoiser(
            noisy, time, text["text"], added_cond_kwargs=added, return_dict=False
        )[0]
        return output
