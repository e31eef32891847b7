"""LoRA weights on a pipeline: every tensor of the file must find its place."""

from __future__ import annotations

import json
from typing import Any

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.generation.resolve import LoraSource, quiet_libraries
from t2i_spatial.generation.tenor import add_token_order

FLAGS_FILE = "t2i_spatial_lora.json"
"""Stands beside LoRA weights of ours and says how they must be used."""

_ADAPTER = "lora"


def attach_lora(pipe: Any, lora: LoraSource, scale: float) -> None:
    """Load LoRA weights into a pipeline, at `scale`.

    diffusers loads what fits and leaves the rest out with a log line; here that is an error.

    Raises:
        ModelLoadError: the pipeline takes no LoRA, or not all of these weights, or they were
            trained for another kind of prediction.
    """
    misfit = f"the LoRA {lora.name!r} does not fit {type(pipe).__name__} of this size: "
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelLoadError(f"{type(pipe).__name__} takes no LoRA weights")
    flags = lora_flags(pipe, lora)
    where = {"weight_name": lora.file.name, "local_files_only": True, "use_safetensors": True}
    try:
        with quiet_libraries():
            pipe.load_lora_weights(str(lora.file.parent), adapter_name=_ADAPTER, **where)
            weights = pipe.lora_state_dict(str(lora.file.parent), **where)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelLoadError(misfit + str(error).strip().splitlines()[-1].strip()) from None
    weights = weights[0] if isinstance(weights, tuple) else weights
    expected = sum(not key.endswith("alpha") for key in weights)
    loaded = sum(
        f".{_ADAPTER}." in name
        for component in pipe.components.values()
        if hasattr(component, "named_parameters")
        for name, _ in component.named_parameters()
        if ".lora_" in name
    )
    if loaded != expected or not loaded:
        raise ModelLoadError(
            f"{misfit}{loaded} of {expected} tensors found their place; was it trained for another "
            "model family?"
        )
    pipe.set_adapters(_ADAPTER, adapter_weights=scale)
    if flags.get("tenor"):
        add_token_order(getattr(pipe, "unet", None) or pipe.transformer)


def prediction_of(pipe: Any) -> str | None:
    """What the denoiser predicts: "epsilon", "v_prediction" or "flow_prediction"."""
    scheduler = getattr(pipe, "scheduler", None)
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
