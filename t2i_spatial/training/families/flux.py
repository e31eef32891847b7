"""FLUX.1 dev and schnell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family, numbered
from t2i_spatial.training.families.text import Text


@FAMILIES.register("flux")
class Flux(Family):
    """FLUX.1; the distilled guidance is held at 1, as in the peers' trainers."""

    title = "Flux.1"
    denoisers = ("FluxTransformer2DModel",)
    levels = "logit_normal"

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, pooled, _ = self.pipe.encode_prompt(list(texts), None, device=self.text_device)
        return {"text": text, "pooled": pooled}

    @override
    def longest_caption(self) -> tuple[Any, int]:
        return self.pipe.tokenizer_2, self.call_default("max_sequence_length")

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        count, channels, height, width = noisy.shape
        device, dtype = noisy.device, noisy.dtype
        places = self.pipe._prepare_latent_image_ids(count, height // 2, width // 2, device, dtype)
        guided = self.denoiser.config.guidance_embeds
        output = self.denoiser(
            hidden_states=self.pipe._pack_latents(noisy, count, channels, height, width),
            timestep=time / 1000,
            guidance=torch.ones(count, device=device) if guided else None,
            pooled_projections=text["pooled"],
            encoder_hidden_states=text["text"],
            txt_ids=torch.zeros(text["text"].shape[1], 3, device=device, dtype=dtype),
            img_ids=places,
            return_dict=False,
        )[0]
        factor = self.pipe.vae_scale_factor
        unpacked: Tensor = self.pipe._unpack_latents(
            output, height * factor, width * factor, factor
        )
        return unpacked

    @override
    def mlp_layers(self) -> Sequence[str]:
        return flux_mlp(self.denoiser)


def flux_mlp(transformer: Any) -> list[str]:
    """Feed-forward layers of double and single blocks; the last layer is a `proj_out` too."""
    double = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
    count = transformer.config.num_single_layers
    return [*double, "proj_mlp", *numbered("single_transformer_blocks", count, "proj_out")]
