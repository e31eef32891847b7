"""What differs between model families when they are fine-tuned, and what does not.

To add a family, write one file that registers a subclass of `Family`: how its pipeline encodes text
and calls its denoiser. Everything else has a default that fits most.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.registry import Registry
from t2i_spatial.training.families.noise_levels import (
    constant_shift,
    is_dynamic,
    mu_by_tokens,
    shift_of_mu,
)
from t2i_spatial.training.families.text import Text
from t2i_spatial.training.hyperparameters import LevelKind

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
JOINT_ATTENTION = (*ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
"""Where text and image have layers of their own."""
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
GROUPS = ("attention", "mlp")
"""Words for layers that every family has under its own names."""


class Family(ABC):
    """How one family of models is trained.

    Latents are (images, channels, height, width) everywhere: packing, axes of frames and lists are
    matters of `latents` and `predict`. A flow model predicts noise - image and its times rise with
    the noise, from 0 to 1000; a family whose network has it the other way turns it round.

    Attributes:
        name: what it is registered under.
        title: its models, as messages call them.
        denoisers: classes of its denoiser in diffusers.
        part: name of the denoiser in the pipeline.
        patch: side, in latents, of what the denoiser makes one token of.
        levels: how its noise levels are drawn, for flow models.
        attention, mlp: layers that get a LoRA, by the end of their name.
        pipe: the diffusers pipeline.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    denoisers: ClassVar[tuple[str, ...]]
    part: ClassVar[str] = "transformer"
    patch: ClassVar[int] = 2
    levels: ClassVar[LevelKind] = "uniform"
    attention: ClassVar[tuple[str, ...]] = ATTENTION
    mlp: ClassVar[tuple[str, ...]] = FEED_FORWARD

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    @classmethod
    def fits(cls, pipe: Any) -> bool:
        """Whether a pipeline is of this family."""
        return type(getattr(pipe, cls.part, None)).__name__ in cls.denoisers

    # -- text -----------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Text:
        """Captions as the denoiser reads them: encoded as the pipeline encodes a prompt."""

    def longest_caption(self) -> tuple[Any, int]:
        """The tokenizer that reads furthest, and its limit in tokens."""
        return self.pipe.tokenizer, self.call_default("max_sequence_length")

    def as_read(self, text: str) -> str:
        """A caption with the words that the family puts around it, which count as tokens too."""
        return text

    def caption_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each caption has, as it is read."""
        tokenizer, _ = self.longest_caption()
        return [len(ids) for ids in tokenizer([*map(self.as_read, texts)]).input_ids]

    def text_encoders(self) -> dict[str, nn.Module]:
        """The CLIP text encoders whose LoRA layers the pipeline can save."""
        save = getattr(self.pipe, "save_lora_weights", None)
        saved = inspect.signature(save).parameters if save else {}
        names = ("text_encoder", "text_encoder_2")
        found = {name: getattr(self.pipe, name, None) for name in names}
        return {
            name: module
            for name, module in found.items()
            if f"{name}_lora_layers" in saved
            and module is not None
            and type(module).__name__.startswith("CLIPText")
        }

    # -- images ---------------------------------------------------------------------------------

    def latents(self, images: Tensor) -> Tensor:
        """Scaled latents (the mean of the VAE's posterior) of images in [-1, 1].

        VAEs of videos encode one frame. Shift and scale are one number or one per channel.

        Raises:
            ModelLoadError: a VAE without a posterior.
        """
        vae = self.pipe.vae
        frames = "temperal_downsample" in vae.config
        images = images.to(vae.device, vae.dtype)
        encoded = vae.encode(images.unsqueeze(2) if frames else images)
        if hasattr(encoded, "latent_dist"):
            latents: Tensor = encoded.latent_dist.mean
        elif hasattr(encoded, "latent"):
            latents = encoded.latent
        else:
            raise ModelLoadError(f"models with {type(vae).__name__} cannot be fine-tuned")
        if frames:
            latents = latents.squeeze(2)
        config = vae.config
        scale = config.get("scaling_factor") or 1.0
        shift: Any = config.get("shift_factor") or 0.0
        if config.get("latents_mean") is not None:
            shift = _by_channel(config.latents_mean, latents)
        if config.get("latents_std") is not None:
            scale = scale / _by_channel(config.latents_std, latents)
        return (latents - shift) * scale

    @property
    def pixels_per_latent(self) -> int:
        """Side, in pixels, of what one latent stands for."""
        return int(self.pipe.vae_scale_factor)

    # -- the denoiser ---------------------------------------------------------------------------

    @property
    def denoiser(self) -> nn.Module:
        """The network that is fine-tuned."""
        module: nn.Module = getattr(self.pipe, self.part)
        return module

    @abstractmethod
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        """The prediction for noisy latents at times in [0, 1000], in the shape of the latents."""

    def targets(self, names: Sequence[str]) -> list[str]:
        """Layers by the end of their names; "attention" and "mlp" are those of the family."""
        groups = {"attention": self.attention_layers(), "mlp": self.mlp_layers()}
        return list(dict.fromkeys(end for name in names for end in groups.get(name, (name,))))

    def attention_layers(self) -> Sequence[str]:
        """What "attention" stands for; asks the network where names alone do not tell."""
        return self.attention

    def mlp_layers(self) -> Sequence[str]:
        """What "mlp" stands for."""
        return self.mlp

    # -- noise ----------------------------------------------------------------------------------

    def shift(self, height: int, width: int) -> float:
        """How far the pipeline shifts its steps, for latents of a size."""
        config = self.pipe.scheduler.config
        if not is_dynamic(config):
            return constant_shift(config)
        tokens = (height // self.patch) * (width // self.patch)
        return shift_of_mu(config, self.mu(tokens))

    def mu(self, tokens: int) -> float:
        """The mu that the pipeline gives to a scheduler with dynamic shifting."""
        return mu_by_tokens(self.pipe.scheduler.config, tokens)

    # -- helpers --------------------------------------------------------------------------------

    @property
    def text_device(self) -> torch.device:
        """Where captions are encoded."""
        return torch.device(self.pipe.text_encoder.device)

    def call_default(self, name: str) -> Any:
        """The default of an argument of the pipeline: what generation uses."""
        return inspect.signature(type(self.pipe).__call__).parameters[name].default


def _by_channel(values: Sequence[float], latents: Tensor) -> Tensor:
    return torch.tensor(values).to(latents).view(1, -1, 1, 1)


FAMILIES: Registry[type[Family]] = Registry(
    "model family", "t2i_spatial.training.families", classes=(Family,)
)


def numbered(blocks: str, count: int, end: str) -> list[str]:
    """Full names of one layer of every block, where its end alone would name others too."""
    return [f"{blocks}.{k}.{end}" for k in range(count)]
