"""From the folder of a checkpoint to its diffusers pipeline, in one number format."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError, ModelLoadError, nearest, require
from t2i_spatial.generation.families import (
    BFLOAT16,
    FLOAT32_VAE,
    PACKAGES,
    SINGLE_FRAME,
    SPARE,
)
from t2i_spatial.generation.resolve import (
    ModelSource,
    is_installed,
    load_error,
    needs,
    quiet_libraries,
)
from t2i_spatial.progress import note
from t2i_spatial.settings import SHORT_DTYPES, short_dtype

_FAILURES = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError)
"""What diffusers and transformers raise for checkpoints that they cannot read."""


def resolve_dtype(dtype: str, device: str, pipeline: str = "") -> str:
    """The short name of the number format that "auto" means on a device, for a class of pipelines.

    A GPU without bfloat16 gets float16, and float32 for families that float16 cannot hold.
    """
    dtype = short_dtype(dtype)
    if dtype != "auto":
        if dtype not in SHORT_DTYPES:
            raise InputError(
                f"unknown dtype {dtype!r}; {nearest(dtype, ['auto', *SHORT_DTYPES.values()])}"
            )
        if dtype == "fp16" and pipeline in BFLOAT16:
            note(f"{pipeline} was trained in bfloat16; in float16 its images may come out black")
        return dtype
    if not device.startswith("cuda"):
        return "fp32"
    torch = require("torch", "generate")
    if torch.cuda.is_bf16_supported():
        return "bf16"
    return "fp32" if pipeline in BFLOAT16 else "fp16"


def pipeline_name(source: ModelSource) -> str:
    """The class of pipeline that a checkpoint was saved from."""
    diffusers = require("diffusers", "generate")
    return str(diffusers.DiffusionPipeline.load_config(str(source.folder)).get("_class_name"))


def load_pipeline(
    source: ModelSource, variant: str | None, dtype: str, *, given: Mapping[str, Any] | None = None
) -> Any:
    """The diffusers pipeline of a folder, in `dtype`, on the CPU.

    Args:
        given: components that are taken as they are, by name, instead of being loaded.

    Raises:
        ModelLoadError: as `load_generator`.
    """
    diffusers = require("diffusers", "generate")
    try:
        with quiet_libraries():
            loader = _text_to_image_loader(diffusers, source)
            options = {
                "use_safetensors": True,
                "local_files_only": True,
                "variant": variant,
                _dtype_keyword(diffusers): _dtypes(pipeline_name(source), dtype),
                **_left_out(diffusers, source),
                **(given or {}),
            }
            pipe = loader.from_pretrained(str(source.folder), **options)
    except ModelLoadError:
        raise
    except _FAILURES as error:
        raise load_error(source, variant, error) from None
    channels = getattr(getattr(pipe, "unet", None), "config", {}).get("in_channels")
    latents = getattr(getattr(pipe, "vae", None), "config", {}).get("latent_channels")
    if channels is not None and latents is not None and channels != latents:
        raise ModelLoadError(
            f"{source.name!r} is not a text-to-image model: its UNet wants {channels} channels "
            f"where the latents have {latents} (an inpainting or editing model?)"
        )
    return pipe


def load_component(
    source: ModelSource, variant: str | None, dtype: str, name: str, kind: type[Any]
) -> Any:
    """One model of a pipeline, of class `kind`, in `dtype`, on the CPU.

    Raises:
        ModelLoadError: as `load_generator`.
    """
    try:
        with quiet_libraries():
            return kind.from_pretrained(
                str(source.folder),
                subfolder=name,
                variant=variant,
                use_safetensors=True,
                local_files_only=True,
                torch_dtype=component_dtype(source, dtype, name),
            )
    except _FAILURES as error:
        raise load_error(source, variant, error) from None


def component_dtype(source: ModelSource, dtype: str, name: str) -> Any:
    """The number format (of torch) in which a pipeline in `dtype` has one of its models."""
    chosen = _dtypes(pipeline_name(source), dtype)
    return chosen.get(name, chosen["default"]) if isinstance(chosen, dict) else chosen


def _left_out(diffusers: Any, source: ModelSource) -> dict[str, None]:
    """The components that this checkpoint was saved without, where it may be."""
    index = diffusers.DiffusionPipeline.load_config(str(source.folder))
    spare = SPARE.get(pipeline_name(source), ())
    return {name: None for name in spare if (index.get(name) or [None])[0] is None}


def _dtypes(pipeline: str, dtype: str) -> Any:
    torch = require("torch", "generate")
    chosen = getattr(torch, SHORT_DTYPES[dtype])
    if pipeline in FLOAT32_VAE and chosen != torch.float32:
        return {"default": chosen, "vae": torch.float32}
    return chosen


def _text_to_image_loader(diffusers: Any, source: ModelSource) -> Any:
    """`AutoPipelineForText2Image` where it knows the family, else the pipeline's own class."""
    name = pipeline_name(source)
    pipeline = getattr(diffusers, name, None)
    if pipeline is None:
        raise ModelLoadError(
            f"{source.name!r} needs the pipeline {name!r}, which diffusers {diffusers.__version__} "
            "does not have; code that comes with a model is never run"
        )
    # diffusers puts a hollow class in the place of one whose libraries are missing
    hollow = getattr(pipeline, "_backends", ())
    missing = [
        package for package in (*hollow, *PACKAGES.get(name, ())) if not is_installed(package)
    ]
    if missing:
        raise needs(source.name, name, missing)
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
    if name not in SINGLE_FRAME and ("prompt" not in parameters or other & set(parameters)):
        raise ModelLoadError(f"{source.name!r} is a {name}, not a text-to-image pipeline")
    return pipeline


def _dtype_keyword(diffusers: Any) -> str:
    """`dtype` where diffusers has it, else the older `torch_dtype`."""
    source = Path(diffusers.utils.__file__).with_name("deprecation_utils.py").read_text("utf-8")
    return "dtype" if "_resolve_dtype" in source else "torch_dtype"
