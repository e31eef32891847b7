"""What differs between model families: how text is encoded and how the denoiser is called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from t2i_spatial.errors import ModelLoadError

Text = dict[str, Tensor]


class Family:
    """A UNet with one text encoder: SD 1.x, SD 2.x and the bundled model.

    Attributes:
        pipe: the diffusers pipeline.
        part: name of its denoiser.
    """

    part = "unet"

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    @property
    def denoiser(self) -> nn.Module:
        """The network that is fine-tuned."""
        module: nn.Module = getattr(self.pipe, self.part)
        return module

    def text_encoders(self) -> dict[str, nn.Module]:
        """The CLIP text encoders, which take LoRA layers too."""
        names = ("text_encoder", "text_encoder_2")
        found = {name: getattr(self.pipe, name, None) for name in names}
        return {
            name: module
            for name, module in found.items()
            if module is not None and type(module).__name__.startswith("CLIPText")
        }

    def encode(self, texts: Sequence[str]) -> Text:
        """Embeddings of captions; the first axis of every tensor counts captions."""
        text, _ = self.pipe.encode_prompt(list(texts), self._device(), 1, False)
        return {"text": text}

    def latents(self, images: Tensor) -> Tensor:
        """Scaled latents (the mean of the VAE's posterior) of images in [-1, 1].

        Raises:
            ModelLoadError: a VAE without a posterior.
        """
        vae = self.pipe.vae
        encoded = vae.encode(images.to(vae.device, vae.dtype))
        if not hasattr(encoded, "latent_dist"):
            raise ModelLoadError(f"models with {type(vae).__name__} cannot be fine-tuned")
        latents: Tensor = encoded.latent_dist.mean
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        return (latents - shift) * vae.config.scaling_factor

    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        """The denoiser's output at times in [0, 1000]."""
        output: Tensor = self.denoiser(noisy, time, text["text"], return_dict=False)[0]
        return output

    def longest_caption(self) -> tuple[Any, int]:
        """The tokenizer that reads furthest, and its limit in tokens."""
        parameters = inspect.signature(self.pipe.encode_prompt).parameters
        limit = parameters.get("max_sequence_length")
        for name in ("tokenizer_3", "tokenizer_2"):
            tokenizer = getattr(self.pipe, name, None)
            if limit is not None and tokenizer is not None and "T5" in type(tokenizer).__name__:
                return tokenizer, int(limit.default)
        return self.pipe.tokenizer, int(self.pipe.tokenizer.model_max_length)

    def _device(self) -> torch.device:
        return torch.device(self.pipe.text_encoder.device)


class StableDiffusionXL(Family):
    """A UNet with two text encoders and size conditioning; images count as uncropped."""

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, _, pooled, _ = self.pipe.encode_prompt(
            list(texts), device=self._device(), do_classifier_free_guidance=False
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


class StableDiffusion3(Family):
    """The MMDiT of SD3 and SD3.5."""

    part = "transformer"

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, _, pooled, _ = self.pipe.encode_prompt(
            list(texts),
            None,
            None,
            device=self._device(),
            do_classifier_free_guidance=False,
        )
        return {"text": text, "pooled": pooled}

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


class Flux(Family):
    """FLUX.1 dev and schnell; the distilled guidance is held at 1, as in the peers' trainers."""

    part = "transformer"

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, pooled, _ = self.pipe.encode_prompt(list(texts), None, device=self._device())
        return {"text": text, "pooled": pooled}

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


def find_family(pipe: Any) -> Family:
    """The family of a loaded pipeline.

    Raises:
        ModelLoadError: a pipeline that cannot be fine-tuned here.
    """
    family = _family(pipe)
    vae = getattr(pipe, "vae", None)
    if family is None or vae is None:
        raise ModelLoadError(
            f"{type(pipe).__name__} cannot be fine-tuned; known are SD 1.x, SD 2.x, SDXL, SD3, "
            "Flux and flow-matching UNets"
        )
    for name in ("latents_mean", "latents_std"):
        if vae.config.get(name) is not None:
            raise ModelLoadError(f"models whose VAE has {name} cannot be fine-tuned")
    return family


def _family(pipe: Any) -> Family | None:
    denoiser: Any = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    kind = type(denoiser).__name__
    if kind == "UNet2DConditionModel":
        sized = denoiser.config.addition_embed_type == "text_time"
        return StableDiffusionXL(pipe) if sized else Family(pipe)
    if kind == "SD3Transformer2DModel":
        return StableDiffusion3(pipe)
    return Flux(pipe) if kind == "FluxTransformer2DModel" else None
