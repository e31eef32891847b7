"""LoRA weights on a pipeline: every tensor of the file must find its place."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from t2i_spatial.errors import ModelLoadError, require
from t2i_spatial.generation.resolve import LoraSource, quiet_libraries
from t2i_spatial.generation.tenor import add_token_order

FLAGS_FILE = "t2i_spatial_lora.json"
"""Stands beside LoRA weights of ours and says how they must be used."""

EDM = "edm"
"""What a denoiser with the preconditioning of Karras et al. 2022 predicts (Playground v2.5)."""

_ADAPTER = "lora"


def attach_lora(pipe: Any, lora: LoraSource, scale: float) -> None:
    """Load LoRA weights into a pipeline, at `scale`.

    diffusers loads what fits and leaves the rest out with a log line; here that is an error.

    Raises:
        ModelLoadError: the pipeline takes no LoRA, or not all of these weights, or they were
            trained for another kind of prediction.
    """
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelLoadError(f"{type(pipe).__name__} takes no LoRA weights")
    flags = lora_flags(pipe, lora)
    expected = len(read_lora(pipe, lora).weights)
    _call(pipe, "load_lora_weights", lora, adapter_name=_ADAPTER)
    loaded = sum(
        f".{_ADAPTER}." in name
        for component in pipe.components.values()
        if hasattr(component, "named_parameters")
        for name, _ in component.named_parameters()
        if ".lora_" in name
    )
    if loaded > expected:
        raise ModelLoadError(
            f"{_misfit(pipe, lora)}{loaded - expected} tensors are missing in the file"
        )
    if loaded < expected or not loaded:
        raise ModelLoadError(
            f"{_misfit(pipe, lora)}{loaded} of {expected} tensors found their place; was it "
            "trained for another model family?"
        )
    pipe.set_adapters(_ADAPTER, adapter_weights=scale)
    if flags.get("tenor"):
        add_token_order(getattr(pipe, "unet", None) or pipe.transformer)


class LoraFile(NamedTuple):
    """What a LoRA file holds, by the names diffusers gives its tensors.

    Attributes:
        weights: the tensors that are added.
        alphas: scales of single layers times their rank, where the file has them beside its
            tensors. diffusers honours these, and those in `metadata`.
        metadata: the settings of peft by `<part>.<setting>`, where the file has them.
    """

    weights: dict[str, Any]
    alphas: dict[str, Any]
    metadata: dict[str, Any]


def read_lora(pipe: Any, lora: LoraSource) -> LoraFile:
    """Read LoRA weights as the pipeline's class reads them.

    Raises:
        ModelLoadError: an unreadable file, one with values that are no numbers, or with alphas that
            diffusers would leave out.
    """
    options = {"return_alphas": True, "return_lora_metadata": True}  # not all know the first
    weights, *alphas, metadata = _call(pipe, "lora_state_dict", lora, **options)
    ignored = [name for name in weights if name.endswith("alpha")]
    if ignored:
        raise ModelLoadError(
            f"{_misfit(pipe, lora)}diffusers does not read its alphas, such as {ignored[0]}"
        )
    if broken := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise ModelLoadError(
            f"the LoRA {lora.name!r} holds values that are not numbers, such as in {broken[0]}"
        )
    return LoraFile(weights, (alphas[0] if alphas else None) or {}, metadata or {})


def _call(pipe: Any, method: str, lora: LoraSource, **options: Any) -> Any:
    broken = require("safetensors", "generate").SafetensorError
    where = {"weight_name": lora.file.name, "local_files_only": True, "use_safetensors": True}
    try:
        with quiet_libraries():
            return getattr(pipe, method)(str(lora.file.parent), **where, **options)
    except broken as error:
        raise ModelLoadError(f"the LoRA {lora.name!r} cannot be read: {error}") from None
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelLoadError(_misfit(pipe, lora) + reason) from None


def _misfit(pipe: Any, lora: LoraSource) -> str:
    return f"the LoRA {lora.name!r} does not fit {type(pipe).__name__} of this size: "


def prediction_of(pipe: Any) -> str | None:
    """What the denoiser predicts: "epsilon", "v_prediction", "flow_prediction" or "edm"."""
    scheduler = getattr(pipe, "scheduler", None)
    if type(scheduler).__name__.startswith("EDM"):
        return EDM  # these say "epsilon", of an image and noise that are scaled differently
    if type(scheduler).__name__.startswith("FlowMatch"):
        return "flow_prediction"
    kind: str | None = getattr(scheduler, "config", {}).get("prediction_type")
    return kind


def lora_flags(pipe: Any, lora: LoraSource) -> dict[str, Any]:
    """What stands beside LoRA weights of ours about their use; nothing beside those of others.

    Raises:
        ModelLoadError: the note cannot be read, or says that the weights were trained for a model
            that predicts something else. Weights of the same shape would load without complaint.
    """
    path = lora.file.with_name(FLAGS_FILE)
    if not path.exists():
        return {}
    try:
        flags = dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelLoadError(f"{path} cannot be read: {error}") from None
    trained, here = flags.get("prediction"), prediction_of(pipe)
    if trained is not None and trained != here:
        raise ModelLoadError(
            f"the LoRA {lora.name!r} was trained for {flags.get('model')!r}, which predicts "
            f"{trained!r}; this model predicts {here!r}"
        )
    return flags
