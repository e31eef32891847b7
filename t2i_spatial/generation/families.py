"""What differs between model families when images are made: guidance, steps, size, number format.

`RECIPES` says how each checkpoint was published: what its model card or configuration recommends
where that is not what the pipeline's class does by default. `guidance_of` says how a pipeline
spells guidance. Sources: the model cards, and `__call__` of each pipeline in diffusers 0.42.

A family that is not here runs with its class's defaults; to add one, add a row.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a checkpoint is meant to be run; `None` is what the pipeline's class does.

    Attributes:
        family: its name, as a run records it.
        pipelines: classes of diffusers.
        config: what the checkpoint's configuration must say, by "component.key"; by "component"
            alone, the class of that component.
        named: what the checkpoint's name must contain, where no configuration tells (a regular
            expression, without regard to case).
        steps, guidance_scale, size: as recommended; size is (width, height).
        options: further arguments of the pipeline.
    """

    family: str
    pipelines: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    named: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    size: tuple[int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


_SDXL = ("StableDiffusionXLPipeline",)
_SD3 = ("StableDiffusion3Pipeline",)
_FLUX = ("FluxPipeline",)
_HIDREAM = ("HiDreamImagePipeline",)
_PLAIN = {"transformer.guidance_embeds": False}

RECIPES: tuple[Recipe, ...] = (
    Recipe("SD Turbo", ("StableDiffusionPipeline",), {}, r"sd-?turbo", 1, 0.0),
    Recipe("SDXL Turbo", _SDXL, {}, r"sdxl-?turbo", 1, 0.0, (512, 512)),
    Recipe("Playground v2.5", _SDXL, {"scheduler": "EDMDPMSolverMultistepScheduler"}, "", 50, 3.0),
    Recipe("Playground v2", _SDXL, {}, r"playground-v2", 50, 3.0),
    Recipe("Kolors", ("KolorsPipeline",), {}, "", 50, 5.0),
    Recipe("SD3.5 Large Turbo", _SD3, {}, r"3\.5-large-turbo", 4, 0.0),
    # the three sizes of SD3 and SD3.5 differ in depth and in the normalisation of queries and keys
    Recipe("SD3.5 Large", _SD3, {"transformer.num_layers": 38}, "", 28, 3.5),
    Recipe(
        "SD3.5 Medium",
        _SD3,
        {"transformer.num_layers": 24, "transformer.qk_norm": "rms_norm"},
        "",
        40,
        4.5,
    ),
    Recipe("SD3", _SD3, {}, "", 28, 7.0),
    Recipe("FLUX.1 schnell", _FLUX, _PLAIN, "", 4, None, None, {"max_sequence_length": 256}),
    Recipe("FLUX.1 Krea dev", _FLUX, {}, r"flux\.1-krea", 28, 4.5),
    Recipe("FLUX.1 dev", _FLUX, {}, "", 50, 3.5),
    Recipe("FLUX.1 Kontext dev", ("FluxKontextPipeline",), {}, "", 28, 2.5),
    Recipe("FLUX.2 dev", ("Flux2Pipeline",), {}, "", 50, 4.0),
    Recipe("FLUX.2 klein", ("Flux2KleinPipeline",), {"is_distilled": True}, "", 4),
    Recipe("FLUX.2 klein base", ("Flux2KleinPipeline",), {}, "", 50, 4.0),
    Recipe("Qwen-Image", ("QwenImagePipeline",), {}, "", 50, 4.0, (1328, 1328)),
    Recipe("Z-Image Turbo", ("ZImagePipeline",), {}, r"z-?image-?turbo", 9, 0.0, (1024, 1024)),
    # a copy under another name: Turbo's schedule is shifted by 3, that of the base by 6
    Recipe("Z-Image Turbo", ("ZImagePipeline",), {"scheduler.shift": 3.0}, "", 9, 0.0),
    Recipe("Z-Image", ("ZImagePipeline",), {}, "", 50, 4.0, (1024, 1024)),
    Recipe("Sana", ("SanaPipeline", "SanaPAGPipeline"), {}, "", 20, 4.5),
    Recipe("Sana Sprint", ("SanaSprintPipeline",), {}, "", 2, 4.5),
    Recipe(
        "Lumina 2",
        ("Lumina2Pipeline",),
        {},
        "",
        50,
        4.0,
        None,
        {"cfg_trunc_ratio": 0.25, "cfg_normalization": True},
    ),
    Recipe("HiDream-I1 Dev", _HIDREAM, {}, r"hidream-i1-dev", 28, 0.0),
    Recipe("HiDream-I1 Fast", _HIDREAM, {}, r"hidream-i1-fast", 16, 0.0),
    Recipe("HiDream-I1 Full", _HIDREAM, {}, "", 50, 5.0),
    Recipe(
        "HunyuanImage 2.1 distilled",
        ("HunyuanImagePipeline",),
        {"transformer.guidance_embeds": True},
        "",
        8,
        3.25,
    ),
    Recipe("HunyuanImage 2.1", ("HunyuanImagePipeline",), {}, "", 50),
    Recipe("PixArt-Σ", ("PixArtSigmaPipeline",), {}, "", 20, 4.5),
    Recipe("Chroma", ("ChromaPipeline",), {}, "", 40, 3.0),
    Recipe("AuraFlow", ("AuraFlowPipeline",), {}, "", 50, 3.5),
    Recipe("CogView4", ("CogView4Pipeline",), {}, "", 50, 3.5, (1024, 1024)),
    Recipe("Krea 2 Turbo", ("Krea2Pipeline",), {"is_distilled": True}, "", 8, 0.0),
    Recipe("Krea 2", ("Krea2Pipeline",), {}, "", 28, 4.5),
    # the two experts of Wan 2.2 A14B have a scale each
    Recipe(
        "Wan 2.2 A14B",
        ("WanPipeline",),
        {"boundary_ratio": 0.875},
        "",
        40,
        4.0,
        (1280, 720),
        {"guidance_scale_2": 3.0},
    ),
    Recipe("Wan 2.2 5B", ("WanPipeline",), {"expand_timesteps": True}, "", 50, 5.0, (1280, 704)),
    Recipe("Wan 2.1", ("WanPipeline",), {}, "", 50, 5.0, (832, 480)),
)
"""The first row that fits a checkpoint is its recipe."""

SINGLE_FRAME = frozenset({"WanPipeline"})
"""Pipelines of videos that make a still picture from a text when one frame is asked."""

BFLOAT16 = frozenset(
    {
        *("FluxPipeline", "FluxKontextPipeline", "Flux2Pipeline", "Flux2KleinPipeline"),
        *("QwenImagePipeline", "QwenImage21Pipeline", "ZImagePipeline", "Krea2Pipeline"),
        *("SanaPipeline", "SanaSprintPipeline", "Lumina2Pipeline", "HiDreamImagePipeline"),
        *("HunyuanImagePipeline", "ChromaPipeline", "CogView4Pipeline", "WanPipeline"),
    }
)
"""Trained and published in bfloat16: activations leave the range of float16."""

FLOAT32_VAE = frozenset({"WanPipeline"})
"""Published with a VAE that computes in float32 whatever the transformer does."""

SPARE: Mapping[str, tuple[str, ...]] = {
    "StableDiffusion3Pipeline": ("text_encoder_3", "tokenizer_3"),
}
"""What a checkpoint may be saved without, to need less memory; diffusers wants it named then."""

PACKAGES: Mapping[str, tuple[str, ...]] = {"WanPipeline": ("ftfy",)}
"""What a pipeline imports when it reads a text, without saying so when it is loaded."""


def recipe_of(pipe: Any, name: str) -> Recipe | None:
    """The recipe of a loaded checkpoint that the user calls `name` (hub id or folder)."""
    kind = type(pipe).__name__
    words = _checkpoint_name(name)
    for recipe in RECIPES:
        if (
            kind in recipe.pipelines
            and re.search(recipe.named, words, re.IGNORECASE)
            and all(_says(pipe, key) == value for key, value in recipe.config.items())
        ):
            return recipe
    return None


def _checkpoint_name(name: str) -> str:
    """The part of a hub id or path that names the checkpoint, also inside a hub cache.

    >>> _checkpoint_name("stabilityai/sdxl-turbo"), _checkpoint_name("/m/turbo/mine")
    ('sdxl-turbo', 'mine')
    >>> _checkpoint_name("/cache/models--stabilityai--sdxl-turbo/snapshots/0a1b")
    'sdxl-turbo'
    """
    parts = PurePath(name).parts
    cached = [part.split("--")[-1] for part in parts if part.startswith("models--")]
    return cached[-1] if cached else parts[-1] if parts else ""


def _says(pipe: Any, key: str) -> Any:
    part, _, entry = key.partition(".")
    if not entry and part not in pipe.components and part in pipe.config:
        return pipe.config[part]
    component = getattr(pipe, part, None)
    return getattr(component, "config", {}).get(entry) if entry else type(component).__name__


class Guidance(NamedTuple):
    """How a pipeline is guided by the text.

    Attributes:
        keyword: the argument that holds the scale; "guider" for the setting of a guider object;
            `None` where a scale has no effect.
        off: scales up to this one switch guidance off; `None` where the scale is an input of a
            distilled model and has no such point.
        negative: whether a negative prompt is read while guidance is on.
        empty: the negative prompt without which the pipeline does not guide at all.
    """

    keyword: str | None
    off: float | None = 1.0
    negative: bool = False
    empty: str | None = None


def guidance_of(pipe: Any) -> Guidance:
    """How this pipeline spells guidance, with these weights."""
    kind = type(pipe).__name__
    parameters = inspect.signature(type(pipe).__call__).parameters
    negative = "negative_prompt" in parameters
    embeds = _says(pipe, "transformer.guidance_embeds")
    if getattr(pipe, "guider", None) is not None:
        return Guidance("guider", 1.0, negative)
    if "distilled_guidance_scale" in parameters:
        return Guidance("distilled_guidance_scale" if embeds else None, None)
    if kind.startswith("QwenImage") and not embeds:
        return Guidance("true_cfg_scale", 1.0, negative, " ")
    if "guidance_scale" not in parameters:
        return Guidance(None, None)
    if kind == "Flux2KleinPipeline":
        return Guidance(None if pipe.config.get("is_distilled") else "guidance_scale")
    if embeds or kind == "Flux2Pipeline" or _says(pipe, "unet.time_cond_proj_dim") is not None:
        return Guidance("guidance_scale", None)
    if "true_cfg_scale" in parameters:  # the Flux that was distilled without an input for it
        return Guidance(None, None)
    # these two add the scale to the prediction of the text: 0 is none, s is 1 + s elsewhere
    off = 0.0 if kind in ("ZImagePipeline", "Krea2Pipeline") else 1.0
    return Guidance("guidance_scale", off, negative)


def default_size(pipe: Any, recipe: Recipe | None) -> tuple[int, int] | None:
    """(width, height) that the checkpoint was made for, as far as it is known."""
    if recipe is not None and recipe.size is not None:
        return recipe.size
    parameters = inspect.signature(type(pipe).__call__).parameters
    # Sana's class says 1024 for its checkpoints of 512, 2048 and 4096 too
    if not type(pipe).__name__.startswith("Sana"):
        sides = [parameters[side].default for side in ("width", "height") if side in parameters]
        if len(sides) == 2 and all(isinstance(side, int) for side in sides):
            return sides[0], sides[1]
    size = getattr(pipe, "default_sample_size", None)
    for part in ("unet", "transformer"):
        size = size or getattr(getattr(pipe, part, None), "config", {}).get("sample_size")
    factor = getattr(pipe, "vae_scale_factor", None)
    if size is None or factor is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return int(width * factor), int(height * factor)
