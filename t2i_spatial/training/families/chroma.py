"""Chroma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.flux import flux_mlp
from t2i_spatial.training.families.text import Text


@FAMILIES.register("chroma")
class Chroma(Family):
    """FLUX.1 without guidance and CLIP, whose attention is told which tokens of T5 are padding.

    As `ChromaPipeline` of diffusers 0.42 calls it (there is no training script of diffusers): the
    caption and one token of padding are marked by a number that is added to attention, so padding
    counts less but is not gone, and all 512 tokens are kept. Times run from 0 to 1; noise levels
    are drawn as for FLUX.1.
    """

    title = "Chroma"
    denoisers = ("ChromaTransformer2DModel",)
    levels = "logit_normal"

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, _, marked, *_ = self.pipe.encode_prompt(
            list(texts),
            device=self.text_device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return {"text": text, "marked": marked}

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        count, channels, height, width = noisy.shape
        device, dtype = noisy.device, noisy.dtype
        rows, columns = height // 2, width // 2
        marked = text["marked"]
        marks = torch.cat([marked, marked.new_ones(count, rows * columns)], 1)
        for block in self.denoiser.single_transformer_blocks:  # type: ignore[union-attr]
            _remind(block, marks)
        output = self.denoiser(
            hidden_states=self.pipe._pack_latents(noisy, count, channels, height, width),
            timestep=time / 1000,
            encoder_hidden_states=text["text"],
            txt_ids=torch.zeros(text["text"].shape[1], 3, device=device, dtype=dtype),
            img_ids=self.pipe._prepare_latent_image_ids(count, rows, columns, device, dtype),
            attention_mask=marks,
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


def _remind(block: Any, marks: Tensor) -> None:
    """Tell a single block the marks that diffusers 0.42 forgets with gradient checkpointing."""
    if not hasattr(block, "forgotten_marks"):
        block.register_forward_pre_hook(_reminded, with_kwargs=True)
    block.forgotten_marks = marks


def _reminded(block: Any, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return inputs, {"attention_mask": block.forgotten_marks, **named}
