"""A loaded text-to-image pipeline: texts and seeds in, images out."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from t2i_spatial.devices import check_device, resolve_devices
from t2i_spatial.errors import InputError, T2ISpatialError, require
from t2i_spatial.generation.families import SINGLE_FRAME, default_size, guidance_of, recipe_of
from t2i_spatial.generation.loading import load_pipeline, pipeline_name, resolve_dtype
from t2i_spatial.generation.lora import attach_loras
from t2i_spatial.generation.resolve import (
    BUNDLED,
    LoraSource,
    ModelSource,
    is_installed,
    resolve_loras,
    resolve_model,
)

FLAT = "one colour all over"
"""The remark on an image without a picture, as overflows of the number format make them."""

_REPEATS = ("num_images_per_prompt", "num_videos_per_prompt")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How images are sampled; `None` is what the checkpoint recommends.

    `guidance_scale` is the pipeline's own, whatever it calls it (`families.guidance_of`).
    """

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
        recipe: how this checkpoint was published, if its family is known.
        guidance: how the pipeline spells guidance.
    """

    def __init__(self, pipe: Any, source: ModelSource, device: str, dtype: str) -> None:
        self.pipe = pipe
        self.source = source
        self.device = device
        self.dtype = dtype
        self.recipe = recipe_of(pipe, source.name)
        self.guidance = guidance_of(pipe)
        self._parameters = inspect.signature(type(pipe).__call__).parameters
        self._own_guidance = self._published_guidance()

    def __call__(
        self, texts: Sequence[str], seeds: Sequence[int], sampling: Sampling | None = None
    ) -> list[Generated]:
        """Generate one image per text, each from its own CPU random generator.

        The same batch gives the same bits; an image in another batch differs by float rounding.
        No texts give no images.

        Raises:
            InputError: the pipeline lacks an option that `sampling` sets, refuses its value, or
                makes images of another size.
            T2ISpatialError: it makes another number of images.
        """
        if len(texts) != len(seeds):
            raise InputError(f"{len(texts)} texts but {len(seeds)} seeds")
        if not texts:
            return []
        torch = require("torch", "generate")
        sampling = self.resolved(sampling or Sampling())
        distinct, repeats = _repeated(texts)
        counted = next((name for name in _REPEATS if name in self._parameters), None)
        if counted is None:
            distinct, repeats = list(texts), 1
        arguments = self._arguments(sampling, len(distinct))
        if counted is not None and repeats > 1:
            arguments[counted] = repeats
        try:
            with np.errstate(invalid="ignore"), self._guided(sampling.guidance_scale):
                output = self.pipe(
                    prompt=distinct,
                    generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                    output_type="np",
                    **arguments,
                )
        except ValueError as error:
            raise InputError(f"{type(self.pipe).__name__}: {error}") from None
        images = output.frames[:, 0] if hasattr(output, "frames") else output.images
        self._check_made(images, len(seeds), sampling)
        flagged = getattr(output, "nsfw_content_detected", None) or [False] * len(texts)
        return [_finish(pixels, bool(flag)) for pixels, flag in zip(images, flagged, strict=True)]

    def resolved(self, sampling: Sampling) -> Sampling:
        """`sampling` with what the checkpoint recommends, else its class, filled in.

        Raises:
            InputError: an option that would change nothing.
        """
        recipe, size = self.recipe, default_size(self.pipe, self.recipe)
        scale = sampling.guidance_scale
        if self.guidance.keyword is None and scale is not None:
            raise InputError(
                f"{self._called()} has no guidance that could be set: --guidance-scale would have "
                "no effect"
            )
        scale = self._own_guidance if scale is None else scale
        return Sampling(
            steps=sampling.steps
            or (recipe and recipe.steps)
            or self._default("num_inference_steps"),
            guidance_scale=None if scale is None else float(scale),
            negative_prompt=self._negative(sampling.negative_prompt, scale),
            width=sampling.width or (size and size[0]),
            height=sampling.height or (size and size[1]),
        )

    def describe(self) -> dict[str, Any]:
        """Pipeline and scheduler as a run records them (JSON values)."""
        scheduler = getattr(self.pipe, "scheduler", None)
        config = {} if scheduler is None else dict(scheduler.config)
        told: dict[str, Any] = {
            "pipeline": type(self.pipe).__name__,
            "scheduler": type(scheduler).__name__,
            "scheduler_config": {
                key: value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
                for key, value in sorted(config.items())
                if not key.startswith("_")
            },
        }
        if self.recipe is not None:
            told["family"] = self.recipe.family
        if self.guidance.keyword not in ("guidance_scale", None):
            told["guidance"] = self.guidance.keyword
        if options := self._options(self.resolved(Sampling())):
            told["options"] = options
        return told

    def _called(self) -> str:
        name = type(self.pipe).__name__
        return name if self.recipe is None else f"{name} ({self.recipe.family})"

    def _negative(self, asked: str | None, scale: float | None) -> str | None:
        guidance = self.guidance
        on = scale is not None and guidance.off is not None and scale > guidance.off
        if asked is not None and not (on and guidance.negative):
            if guidance.off is None:
                why = "it is guidance-distilled"
            elif not guidance.negative:
                why = "it does not read one"
            else:
                why = f"guidance is off at a scale of {scale:g}"
            raise InputError(f"{self._called()}: a negative prompt would have no effect, as {why}")
        return guidance.empty if on and asked is None else asked

    def _published_guidance(self) -> float | None:
        if self.guidance.keyword is None:
            return None
        if self.recipe is not None and self.recipe.guidance_scale is not None:
            return self.recipe.guidance_scale
        if self.guidance.keyword == "guider":
            return float(self.pipe.guider.guidance_scale)
        scale: float | None = self._default(self.guidance.keyword)
        return scale

    def _options(self, sampling: Sampling) -> dict[str, Any]:
        """Arguments beside those of `Sampling` that the pipeline is called with."""
        options = dict(self.recipe.options) if self.recipe else {}
        if self.recipe and sampling.guidance_scale != self.recipe.guidance_scale:
            options.pop("guidance_scale_2", None)  # one scale was asked: it is that of both
        if self._default("use_resolution_binning"):
            # it would make the image in a size of its list and stretch it to the one asked
            options["use_resolution_binning"] = False
        if self._default("clean_caption"):
            options["clean_caption"] = is_installed("bs4") and is_installed("ftfy")
        return options

    def _arguments(self, sampling: Sampling, distinct: int) -> dict[str, Any]:
        keyword = self.guidance.keyword
        values: dict[str, Any] = {
            "num_inference_steps": sampling.steps,
            "width": sampling.width,
            "height": sampling.height,
        }
        if keyword not in ("guider", None):
            values[keyword] = sampling.guidance_scale
        arguments: dict[str, Any] = {
            key: value for key, value in values.items() if value is not None
        }
        for key in arguments:
            if key not in self._parameters:
                raise InputError(f"{type(self.pipe).__name__} has no option {key}")
        if sampling.negative_prompt is not None:
            arguments["negative_prompt"] = [sampling.negative_prompt] * distinct
        if type(self.pipe).__name__ in SINGLE_FRAME:
            arguments["num_frames"] = 1
        if "max_area" in self._parameters and sampling.width and sampling.height:
            arguments["max_area"] = sampling.width * sampling.height  # else always a megapixel
        return arguments | self._options(sampling)

    @contextlib.contextmanager
    def _guided(self, scale: float | None) -> Iterator[None]:
        """A context in which guider objects, where the pipeline has them, have this scale."""
        names = ("guider", "ocr_guider")
        own = {name: guider for name in names if (guider := getattr(self.pipe, name, None))}
        if self.guidance.keyword != "guider" or scale in (None, self._own_guidance):
            own = {}
        for name, guider in own.items():
            setattr(self.pipe, name, guider.new(guidance_scale=scale))
        try:
            yield
        finally:
            for name, guider in own.items():
                setattr(self.pipe, name, guider)

    def _check_made(self, images: Sequence[np.ndarray], count: int, planned: Sampling) -> None:
        if len(images) != count:
            raise T2ISpatialError(
                f"{self._called()} made {len(images)} images where {count} were due"
            )
        for pixels in images:
            height, width, *channels = pixels.shape
            if channels != [3]:
                raise T2ISpatialError(
                    f"{self._called()} made images of {channels[0] if channels else 1} channels; "
                    "pictures have three"
                )
            if (width, height) != (planned.width or width, planned.height or height):
                raise InputError(
                    f"{self._called()} makes {width}x{height} where {planned.width}x"
                    f"{planned.height} is asked; ask for a size that it makes"
                )

    def _default(self, name: str) -> Any:
        parameter = self._parameters.get(name)
        return None if parameter is None else parameter.default


def load_generator(
    model: str = "bundled",
    *,
    revision: str | None = None,
    variant: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    lora: str | Sequence[str] | None = None,
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
        lora: LoRA weights (file, folder, run directory or hub id), or several; `name:0.6` gives one
            a strength of its own, `lora_scale` is that of the others.
        offline: use the local hub cache only.

    Raises:
        ModelLoadError: unknown or unreadable model, no safetensors, not a text-to-image pipeline,
            code of its own, or a LoRA that does not fit.
    """
    source = resolve_model(model, revision=revision, variant=variant, offline=offline)
    named = (lora,) if isinstance(lora, str) else lora or ()
    loras = resolve_loras(named, lora_scale, offline=offline)
    return load_from(source, variant, dtype, resolve_devices(device)[0], loras)


def load_from(
    source: ModelSource,
    variant: str | None,
    dtype: str,
    device: str,
    loras: Sequence[tuple[LoraSource, float]],
) -> Generator:
    """Load what `resolve_model` and `resolve_loras` have found (needs no network)."""
    check_device(device)
    dtype = resolve_dtype(dtype, device, pipeline_name(source))
    pipe = load_pipeline(source, variant, dtype)
    attach_loras(pipe, loras)
    pipe.set_progress_bar_config(disable=True)
    return Generator(pipe.to(device), source, device, dtype)


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
    values = (pixels * 255).round().astype(np.uint8)
    reason = "blacked out by the model's safety checker" if flagged else None
    if reason is None and not np.ptp(values, axis=(0, 1)).any():
        reason = FLAT
    return Generated(Image.fromarray(values), reason)
