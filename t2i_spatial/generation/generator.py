"""A loaded text-to-image pipeline: texts and seeds in, images out."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from t2i_spatial.devices import check_device, resolve_devices
from t2i_spatial.errors import InputError, ModelLoadError, nearest, require
from t2i_spatial.generation.lora import attach_lora
from t2i_spatial.generation.resolve import (
    BUNDLED,
    LoraSource,
    ModelSource,
    load_error,
    quiet_libraries,
    resolve_lora,
    resolve_model,
)
from t2i_spatial.settings import SHORT_DTYPES, short_dtype


@dataclass(frozen=True, slots=True)
class Sampling:
    """How images are sampled; `None` is the pipeline's own default."""

    steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None


def default_sampling(model: str) -> Sampling:
    """The settings the bundled model is shipped with; nothing for any other."""
    if model != BUNDLED:
        return Sampling()
    from t2i_spatial import bundled

    values = bundled.settings()["generator"]
    return Sampling(**{name: values[name] for name in Sampling.__slots__ if name in values})


class Generated(NamedTuple):
    """One image, or `None` with the reason why there is none."""

    image: Image.Image | None
    reason: str | None = None


class Generator:
    """A diffusers pipeline on one device.

    Attributes:
        pipe: the diffusers pipeline.
        source: the model it was loaded from.
        device, dtype: where and how it computes ("cuda:0", "bf16").
    """

    def __init__(self, pipe: Any, source: ModelSource, device: str, dtype: str) -> None:
        self.pipe = pipe
        self.source = source
        self.device = device
        self.dtype = dtype
        self._parameters = inspect.signature(type(pipe).__call__).parameters

    def __call__(
        self, texts: Sequence[str], seeds: Sequence[int], sampling: Sampling | None = None
    ) -> list[Generated]:
        """Generate one image per text, each from its own CPU random generator.

        The same batch gives the same bits; an image in another batch differs by float rounding.
        No texts give no images.

        Raises:
            InputError: the pipeline lacks an option that `sampling` sets, or refuses its value.
        """
        if len(texts) != len(seeds):
            raise InputError(f"{len(texts)} texts but {len(seeds)} seeds")
        if not texts:
            return []
        torch = require("torch", "generate")
        distinct, repeats = _repeated(texts)
        arguments = self._arguments(sampling or Sampling(), len(distinct))
        if "num_images_per_prompt" not in self._parameters:
            distinct, repeats = list(texts), 1
        elif repeats > 1:
            arguments["num_images_per_prompt"] = repeats
        try:
            with np.errstate(invalid="ignore"):
                output = self.pipe(
                    prompt=distinct,
                    generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                    output_type="np",
                    **arguments,
                )
        except ValueError as error:
            raise InputError(f"{type(self.pipe).__name__}: {error}") from None
        flagged = getattr(output, "nsfw_content_detected", None) or [False] * len(texts)
        return [
            _finish(pixels, bool(flag)) for pixels, flag in zip(output.images, flagged, strict=True)
        ]

    def resolved(self, sampling: Sampling) -> Sampling:
        """`sampling` with the pipeline's defaults filled in, as far as they are known."""
        width, height = self._default_size()
        return Sampling(
            steps=sampling.steps or self._default("num_inference_steps"),
            guidance_scale=self._default("guidance_scale")
            if sampling.guidance_scale is None
            else sampling.guidance_scale,
            negative_prompt=sampling.negative_prompt,
            width=sampling.width or width,
            height=sampling.height or height,
        )

    def describe(self) -> dict[str, Any]:
        """Pipeline and scheduler as a run records them (JSON values)."""
        scheduler = getattr(self.pipe, "scheduler", None)
        config = {} if scheduler is None else dict(scheduler.config)
        return {
            "pipeline": type(self.pipe).__name__,
            "scheduler": type(scheduler).__name__,
            "scheduler_config": {
                key: value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
                for key, value in sorted(config.items())
                if not key.startswith("_")
            },
        }

    def _arguments(self, sampling: Sampling, distinct: int) -> dict[str, Any]:
        if (sampling.width is None) != (sampling.height is None):
            full = self.resolved(sampling)  # diffusers ignores a width without a height
            sampling = replace(sampling, width=full.width, height=full.height)
        values = {
            "num_inference_steps": sampling.steps,
            "guidance_scale": sampling.guidance_scale,
            "negative_prompt": sampling.negative_prompt,
            "width": sampling.width,
            "height": sampling.height,
        }
        arguments: dict[str, Any] = {
            key: value for key, value in values.items() if value is not None
        }
        for key in arguments:
            if key not in self._parameters:
                raise InputError(f"{type(self.pipe).__name__} has no option {key}")
        if sampling.negative_prompt is not None:
            if (self._default("true_cfg_scale") or 2.0) <= 1.0:
                raise InputError(
                    f"{type(self.pipe).__name__} is guidance-distilled: a negative prompt would "
                    "have no effect"
                )
            arguments["negative_prompt"] = [sampling.negative_prompt] * distinct
        return arguments

    def _default(self, name: str) -> Any:
        parameter = self._parameters.get(name)
        return None if parameter is None else parameter.default

    def _default_size(self) -> tuple[int | None, int | None]:
        size = getattr(self.pipe, "default_sample_size", None)
        if size is None and hasattr(self.pipe, "unet"):
            size = self.pipe.unet.config.get("sample_size")
        factor = getattr(self.pipe, "vae_scale_factor", None)
        if size is None or factor is None:
            return None, None
        height, width = (size, size) if isinstance(size, int) else size
        return int(width * factor), int(height * factor)


def load_generator(
    model: str = "bundled",
    *,
    revision: str | None = None,
    variant: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    lora: str | None = None,
    lora_scale: float = 1.0,
    offline: bool = False,
) -> Generator:
    """Load a diffusers text-to-image pipeline.

    Args:
        model: "bundled", a folder with `model_index.json`, or a hub id.
        revision, variant: commit, tag or branch of a hub id; file variant such as "fp16".
        dtype: float32, bfloat16, float16 or fp32, bf16, fp16; "auto" is float32 on the CPU,
            bfloat16 on a GPU that has it, else float16.
        device: "cpu", "cuda:0", ...; "auto" is the first GPU if there is one.
        lora: LoRA weights (file, folder, run directory or hub id); `lora_scale` is their strength.
        offline: use the local hub cache only.

    Raises:
        ModelLoadError: unknown or unreadable model, no safetensors, not a text-to-image pipeline,
            code of its own, or a LoRA that does not fit.
    """
    source = resolve_model(model, revision=revision, variant=variant, offline=offline)
    found = None if lora is None else resolve_lora(lora, offline=offline)
    return load_from(source, variant, dtype, resolve_devices(device)[0], found, lora_scale)


def load_from(
    source: ModelSource,
    variant: str | None,
    dtype: str,
    device: str,
    lora: LoraSource | None,
    lora_scale: float,
) -> Generator:
    """Load what `resolve_model` and `resolve_lora` have found (needs no network)."""
    check_device(device)
    dtype = resolve_dtype(dtype, device)
    pipe = load_pipeline(source, variant, dtype)
    if lora is not None:
        attach_lora(pipe, lora, lora_scale)
    pipe.set_progress_bar_config(disable=True)
    return Generator(pipe.to(device), source, device, dtype)


def resolve_dtype(dtype: str, device: str) -> str:
    """The short name of the number format that "auto" means on a device."""
    dtype = short_dtype(dtype)
    if dtype != "auto":
        if dtype not in SHORT_DTYPES:
            raise InputError(f"unknown dtype {dtype!r}; {nearest(dtype, SHORT_DTYPES.values())}")
        return dtype
    if not device.startswith("cuda"):
        return "fp32"
    torch = require("torch", "generate")
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def load_pipeline(source: ModelSource, variant: str | None, dtype: str) -> Any:
    """The diffusers pipeline of a folder, in `dtype`, on the CPU.

    Raises:
        ModelLoadError: as `load_generator`.
    """
    diffusers = require("diffusers", "generate")
    torch = require("torch", "generate")
    options = {
        "use_safetensors": True,
        "local_files_only": True,
        "variant": variant,
        _dtype_keyword(diffusers): getattr(torch, SHORT_DTYPES[dtype]),
    }
    try:
        with quiet_libraries():
            loader = _text_to_image_loader(diffusers, source)
            pipe = loader.from_pretrained(str(source.folder), **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ModelLoadError):
            raise
        raise load_error(source, variant, error) from None
    channels = getattr(getattr(pipe, "unet", None), "config", {}).get("in_channels")
    latents = getattr(getattr(pipe, "vae", None), "config", {}).get("latent_channels")
    if channels is not None and latents is not None and channels != latents:
        raise ModelLoadError(
            f"{source.name!r} is not a text-to-image model: its UNet wants {channels} channels "
            f"where the latents have {latents} (an inpainting or editing model?)"
        )
    return pipe


def _text_to_image_loader(diffusers: Any, source: ModelSource) -> Any:
    """`AutoPipelineForText2Image` where it knows the family, else the pipeline's own class."""
    name = diffusers.DiffusionPipeline.load_config(str(source.folder)).get("_class_name")
    pipeline = getattr(diffusers, name, None) if isinstance(name, str) else None
    if pipeline is None:
        raise ModelLoadError(
            f"{source.name!r} needs the pipeline {name!r}, which diffusers {diffusers.__version__} "
            "does not have; code that comes with a model is never run"
        )
    from diffusers.pipelines.auto_pipeline import (
        AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
        SUPPORTED_TASKS_MAPPINGS,
    )

    for mapping in SUPPORTED_TASKS_MAPPINGS:
        for family, known in mapping.items():
            if known.__name__ == name and family in AUTO_TEXT2IMAGE_PIPELINES_MAPPING:
                return diffusers.AutoPipelineForText2Image
    parameters = inspect.signature(pipeline.__call__).parameters
    other = {"image", "mask_image", "video", "num_frames", "audio_length_in_s", "audio_end_in_s"}
    if "prompt" not in parameters or other & set(parameters):
        raise ModelLoadError(f"{source.name!r} is a {name}, not a text-to-image pipeline")
    return pipeline


def _dtype_keyword(diffusers: Any) -> str:
    """`dtype` where diffusers has it, else the older `torch_dtype`."""
    source = Path(diffusers.utils.__file__).with_name("deprecation_utils.py").read_text("utf-8")
    return "dtype" if "_resolve_dtype" in source else "torch_dtype"


def _repeated(texts: Sequence[str]) -> tuple[list[str], int]:
    """Distinct texts and n, if every text stands n times in a row; else the texts and 1.

    >>> _repeated(["a", "a", "b", "b"]), _repeated(["a", "a", "b"])
    ((['a', 'b'], 2), (['a', 'a', 'b'], 1))
    """
    distinct = list(dict.fromkeys(texts))
    repeats = len(texts) // len(distinct)
    if [text for text in distinct for _ in range(repeats)] == list(texts):
        return distinct, repeats
    return list(texts), 1


def _finish(pixels: np.ndarray, flagged: bool) -> Generated:
    if not np.isfinite(pixels).all():
        return Generated(None, "the model gave pixels that are not numbers")
    image = Image.fromarray((pixels * 255).round().astype(np.uint8))
    return Generated(image, "blacked out by the model's safety checker" if flagged else None)
