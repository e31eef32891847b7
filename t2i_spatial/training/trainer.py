"""LoRA fine-tuning: from a training set to weights that plain diffusers loads."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch.utils.checkpoint import checkpoint

from t2i_spatial.devices import check_device, resolve_devices
from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.files import write_json
from t2i_spatial.generation.families import default_size, recipe_of
from t2i_spatial.generation.lora import FLAGS_FILE, prediction_of
from t2i_spatial.generation.parts import Parts
from t2i_spatial.generation.resolve import (
    LORA_FILE,
    PEFT_FILE,
    PEFT_SETTINGS,
    LoraSource,
    ModelSource,
    resolve_lora,
    resolve_model,
)
from t2i_spatial.generation.tenor import add_token_order
from t2i_spatial.progress import note, set_quiet
from t2i_spatial.provenance import environment
from t2i_spatial.run import claim_folder
from t2i_spatial.settings import short_dtype
from t2i_spatial.training.attention import Grounder, use_explicit_attention
from t2i_spatial.training.data import Example, data_hash
from t2i_spatial.training.families import Family, find_family
from t2i_spatial.training.hyperparameters import FinetuneSettings
from t2i_spatial.training.latent_cache import Captions, encode_images
from t2i_spatial.training.loop import LAST_GOOD, Loop
from t2i_spatial.training.lora_layers import Adapters
from t2i_spatial.training.memory import Estimate, Shape, device_memory, estimate
from t2i_spatial.training.objective import find_objective
from t2i_spatial.training.processes import Processes
from t2i_spatial.training.sets.reading import read_training_set
from t2i_spatial.training.trackers import Trackers

FORMAT = 1


def finetune(
    data: str | Path,
    output: str | Path,
    settings: FinetuneSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train a LoRA on a training set; `output` receives `pytorch_lora_weights.safetensors`.

    The weights are a function of the data, the model and `settings.plan()`: an interrupted training
    that is resumed ends with the same ones (on the CPU, to the bit).

    Args:
        data: a training set in any form of `training.sets.reading`, such as a folder with
            `train/metadata.jsonl` (`file_name`, `text`, optional `weight`).
        output: a new or empty folder, or that of the training to resume.
        resume: go on from the last checkpoint in `output`; without one, from the start. With more
            steps than before, also a finished training goes on.
        overwrite: throw away what is in `output`.

    Returns:
        Steps, images, last loss and images per second, as stored in `t2i_spatial_lora.json`.

    Raises:
        InputError: empty or broken data, captions that are too long, or a used `output`, also one
            that another training is writing to.
        ModelLoadError: a model or LoRA that cannot be loaded or fine-tuned.
        PlanMismatchError: `resume` with other settings or data.
        T2ISpatialError: the loss is not a number any more; the last good LoRA is kept.
    """
    settings = settings or FinetuneSettings()
    with tempfile.TemporaryDirectory(prefix="t2i-spatial-images-") as scratch:
        examples = read_training_set(data, Path(scratch), settings.caption_columns)
        return _finetune(examples, Path(output), settings, resume, overwrite)


def estimate_memory(settings: FinetuneSettings) -> Estimate:
    """What memory a training would need, from the model's configuration; no weights are read.

    Raises:
        InputError: a resolution that does not fit the model.
        ModelLoadError: a model that is not found or cannot be fine-tuned.
    """
    source = resolve_model(
        settings.model,
        revision=settings.revision,
        variant=settings.variant,
        offline=settings.offline,
    )
    device = resolve_devices(settings.device)[0]
    check_device(device)
    precision = _precision(short_dtype(settings.dtype), device)
    weights = _weights(settings.base_bits, precision, device)
    parts = Parts(source, settings.variant, weights, device=device, bits=settings.base_bits)
    family = find_family(parts.pipe)
    size = _size(family, source.name, settings.resolution)
    found = estimate(
        {name: getattr(parts.pipe, name) for name in parts.names},
        family.part,
        family.targets(settings.targets),
        Shape(
            settings.batch_size,
            size,
            size // family.pixels_per_latent,
            family.longest_caption()[1],
            family.patch,
        ),
        settings,
        weight=4 if weights == "fp32" else 2,
        number=4 if precision == "fp32" else 2,
    )
    return dataclasses.replace(found, device=device, free=device_memory(device))


def _finetune(
    examples: Sequence[Example],
    output: Path,
    settings: FinetuneSettings,
    resume: bool,
    overwrite: bool,
) -> dict[str, Any]:
    source = resolve_model(
        settings.model,
        revision=settings.revision,
        variant=settings.variant,
        offline=settings.offline,
    )
    lora = None if settings.lora is None else resolve_lora(settings.lora, offline=settings.offline)
    processes = Processes(resolve_devices(settings.device)[0])
    processes.check_batch(settings.batch_size)
    if not processes.is_first:
        set_quiet(True)
    device = processes.device
    check_device(device)
    precision = _precision(short_dtype(settings.dtype), device)
    plan = settings.plan() | {
        "revision": source.revision,
        "data": data_hash(examples),
        "lora": None if lora is None else lora.digest,
        "precision": precision,
        "device": device.split(":")[0],
    }
    lock = FileLock(output / ".lock")
    try:
        done = processes.from_first(lambda: _claim(output, lock, plan, resume, overwrite))
        if done is not None:
            note(f"{output}: trained already")
            return done
        return _train(examples, source, lora, output, plan, processes, precision, settings)
    finally:
        lock.release()


def _train(
    examples: Sequence[Example],
    source: ModelSource,
    lora: LoraSource | None,
    output: Path,
    plan: dict[str, Any],
    processes: Processes,
    precision: str,
    settings: FinetuneSettings,
) -> dict[str, Any]:
    device = processes.device
    parts = Parts(
        source,
        settings.variant,
        _weights(settings.base_bits, precision, device),
        device=device,
        bits=settings.base_bits,
    )
    family = find_family(parts.pipe)
    objective = find_objective(family, settings)
    captions = Captions(examples)
    captions.check_length(family, settings.truncate_captions)
    size = _size(family, source.name, settings.resolution)
    grounder = _grounder(family, examples, size, settings)
    latents = _cache(parts, family, examples, captions, size, settings)
    adapters = Adapters(family, settings)
    if lora is not None:
        adapters.start_from(family.pipe, lora)
    if settings.tenor:
        add_token_order(family.denoiser)
    if grounder is not None:
        grounder.attach(family.denoiser)
    elif device == "cpu" and precision == "bf16" and family.part == "unet":
        use_explicit_attention(family.denoiser)
    if settings.gradient_checkpointing:
        _checkpoint_gradients(family)
    if settings.compile:
        family.denoiser.compile()
    trackers = Trackers(settings.trackers if processes.is_first else (), output, plan)
    record = {
        "format": FORMAT,
        "tenor": settings.tenor,
        "model": source.name,
        "prediction": prediction_of(family.pipe),
        "plan": plan,
        "environment": environment(),
    }
    if processes.is_first:
        write_json(output / FLAGS_FILE, record)
    loop = Loop(
        source=source,
        family=family,
        objective=objective,
        adapters=adapters,
        latents=latents,
        captions=captions,
        grounder=grounder,
        weights=torch.tensor([example.weight for example in examples]),
        settings=settings,
        precision=precision,
        processes=processes,
        trackers=trackers,
        folder=output,
    )
    try:
        result = loop.run()
        loop.save_weights()
    finally:
        trackers.finish()
    result |= {"images": len(examples), "distinct_captions": len(captions.texts) - 1}
    if processes.is_first:
        write_json(output / FLAGS_FILE, record | {"finished": result})
    return result


def _grounder(
    family: Family, examples: Sequence[Example], size: int, settings: FinetuneSettings
) -> Grounder | None:
    """The attention losses, if any are wanted; what they cannot do is refused before all work."""
    if not settings.token_loss and not settings.pixel_loss:
        return None
    if any(example.more for example in examples):
        raise InputError(
            "attention losses need one caption for each image; choose it with --caption-column"
        )
    if settings.gradient_checkpointing:
        raise InputError("attention losses and gradient checkpointing exclude each other")
    if settings.compile and family.part != "unet":
        raise InputError("attention losses and --compile exclude each other for transformers")
    return Grounder(family, examples, size, token=settings.token_loss, pixel=settings.pixel_loss)


def _cache(
    parts: Parts,
    family: Family,
    examples: Sequence[Example],
    captions: Captions,
    size: int,
    settings: FinetuneSettings,
) -> torch.Tensor:
    """Latents; encoded captions are kept in `captions`. Each model is freed before the next one.

    What the loop needs stays: text encoders that are trained, everything for validation images.
    """
    parts.load(["vae"])
    latents = encode_images(family, examples, size)
    if not settings.validate_every:
        parts.free(["vae"])
    parts.load(parts.text_encoders)
    if not settings.text_encoder:
        captions.cache(family)
        if not settings.validate_every:
            parts.free(parts.text_encoders)
    parts.load(parts.names if settings.validate_every else [family.part])
    return latents


def _checkpoint_gradients(family: Family) -> None:
    try:
        family.denoiser.enable_gradient_checkpointing(_recomputed)  # type: ignore[operator]
    except ValueError:
        kind = type(family.denoiser).__name__
        raise InputError(f"{kind} has no gradient checkpointing in diffusers") from None


def _recomputed(block: torch.nn.Module, *inputs: Any, **named: Any) -> Any:
    """diffusers' own takes no named inputs, which HunyuanImage's transformer gives it."""
    return checkpoint(block, *inputs, use_reentrant=False, **named)


def _weights(bits: int | None, precision: str, device: str) -> str:
    """The number format of frozen weights that are not packed."""
    if bits == 16:
        if precision == "fp32":
            raise InputError(
                "--base-bits 16 needs a computation in 16 bits: --dtype bfloat16 (or float16)"
            )
        return precision
    # on a GPU they are kept in the number format of the computation
    return "fp32" if device == "cpu" else precision


def _precision(wanted: str, device: str) -> str:
    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "fp32"


def _size(family: Family, name: str, wanted: int | None) -> int:
    """The side of the training images in pixels: as wanted, or what the model was made for."""
    part = family.pixels_per_latent * family.patch
    if wanted is None:
        size = default_size(family.pipe, recipe_of(family.pipe, name))
        if size is None:
            raise InputError("the size that this model was made for is unknown; say --resolution")
        wanted = max(size)
    if wanted % part:
        raise InputError(f"this model needs a --resolution that is a multiple of {part}")
    return wanted


def _claim(
    output: Path, lock: FileLock, plan: dict[str, Any], resume: bool, overwrite: bool
) -> dict[str, Any] | None:
    """Make the output folder ours; returns the result if the same training is finished."""
    claim_folder(output, lock, "training")
    if overwrite:
        _clear(output)
    flags = output / FLAGS_FILE
    if not flags.exists():
        if (output / LORA_FILE).exists():
            raise InputError(f"{output} has LoRA weights of another origin; use --overwrite")
        return None
    try:
        known = json.loads(flags.read_text("utf-8"))
        before = known["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{flags} cannot be read: {error}") from None
    plan = json.loads(json.dumps(plan))
    differences = [
        f"  {key}: {before.get(key)!r} there, {plan.get(key)!r} now"
        for key in sorted({*before, *plan})
        if before.get(key) != plan.get(key)
    ]
    if resume and _is_extended(before, plan):
        note(f"{output}: {plan['steps']:,} steps instead of {before['steps']:,}")
        return None
    if differences:
        raise PlanMismatchError(
            f"{output} holds another training:\n" + "\n".join(differences) + "\nuse another "
            "--output, or --overwrite to train anew"
        )
    if "finished" in known and (output / LORA_FILE).exists():
        return dict(known["finished"])
    if not resume:
        raise InputError(
            f"{output} holds a training that was interrupted; --resume goes on, --overwrite starts "
            "anew"
        )
    return None


def _is_extended(before: dict[str, Any], plan: dict[str, Any]) -> bool:
    """Whether a plan asks for more steps and for nothing else that is new."""
    known = before.get("steps")
    rest = {*before, *plan} - {"steps"}
    longer = isinstance(known, int) and plan["steps"] > known
    return longer and all(before.get(key) == plan.get(key) for key in rest)


def _clear(output: Path) -> None:
    for name in ("checkpoints", "validation", "trackers", LAST_GOOD):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in (FLAGS_FILE, LORA_FILE, PEFT_FILE, PEFT_SETTINGS, "log.jsonl"):
        (output / name).unlink(missing_ok=True)
