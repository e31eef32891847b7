"""FLUX.2 dev and klein."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import ATTENTION, FAMILIES, Family, numbered
from t2i_spatial.training.families.text import Text

_DISTILLED_STEPS = 4


@FAMILIES.register("flux2")
class Flux2(Family):
    """A joint transformer that reads several layers of Mistral Small (dev) or Qwen3 (klein).

    As `Flux2Pipeline` and `Flux2KleinPipeline` of diffusers 0.42 call it and their training scripts
    (`train_dreambooth_lora_flux2.py`, `..._flux2_klein.py` at 58eb52c) do: latents are patches of
    2 x 2 scaled by the batch-norm statistics of the VAE, positions have four axes, times run from 0
    to 1, noise levels are uniform; the single blocks are adapted too. The distilled guidance of dev
    is held at 1, where it means no guidance, as for FLUX.1 (the script trains at 3.5).
    """

    title = "FLUX.2"
    denoisers = ("Flux2Transformer2DModel",)
    patch = 1
    mlp = ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out")

    @property
    @override
    def pixels_per_latent(self) -> int:
        return 2 * super().pixels_per_latent

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, _ = self.pipe.encode_prompt(
            list(texts),
            self.text_device,
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return {"text": text}

    @override
    def caption_tokens(self, texts: Sequence[str]) -> list[int]:
        if not hasattr(self.pipe, "system_message"):  # klein reads a chat of one turn
            return super().caption_tokens(texts)
        from diffusers.pipelines.flux2.pipeline_flux2 import format_input

        read = self.pipe.tokenizer.apply_chat_template
        return [
            len(read(chat, tokenize=True, return_dict=True)["input_ids"][0])
            for chat in format_input(list(texts), self.pipe.system_message)
        ]

    @override
    def as_read(self, text: str) -> str:
        message = [{"role": "user", "content": text}]
        return str(
            self.pipe.tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )

    @override
    def latents(self, images: Tensor) -> Tensor:
        vae = self.pipe.vae
        raw = vae.encode(images.to(vae.device, vae.dtype)).latent_dist.mean
        patches: Tensor = self.pipe._patchify_latents(raw)
        mean = vae.bn.running_mean.view(1, -1, 1, 1).to(patches)
        variance = vae.bn.running_var.view(1, -1, 1, 1).to(patches)
        return (patches - mean) / torch.sqrt(variance + vae.config.batch_norm_eps)

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        places = self.pipe._prepare_latent_ids(noisy).to(noisy.device)
        guided = self.denoiser.config.guidance_embeds
        output = self.denoiser(
            hidden_states=self.pipe._pack_latents(noisy),
            timestep=time / 1000,
            guidance=torch.ones(len(noisy), device=noisy.device) if guided else None,
            encoder_hidden_states=text["text"],
            txt_ids=self.pipe._prepare_text_ids(text["text"]).to(noisy.device),
            img_ids=places,
            return_dict=False,
        )[0]
        unpacked: Tensor = self.pipe._unpack_latents_with_ids(output, places)
        return unpacked

    @override
    def attention_layers(self) -> Sequence[str]:
        """Single blocks have one matrix for all inputs, and an output that is no list."""
        count = self.denoiser.config.num_single_layers
        single = numbered("single_transformer_blocks", count, "attn.to_out")
        return [*ATTENTION, "to_qkv_mlp_proj", *single]

    @override
    def mu(self, tokens: int) -> float:
        from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

        distilled = self.pipe.config.get("is_distilled")
        steps = _DISTILLED_STEPS if distilled else self.call_default("num_inference_steps")
        return float(compute_empirical_mu(tokens, steps))
