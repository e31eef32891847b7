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
        ModelLoadError: the pipeline takes no LoRA, or not all of these weights.
    """
    misfit = f"the LoRA {lora.name!r} does not fit {type(pipe).__name__} of this size: "
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelLoadError(f"{type(pipe).__name__} takes no LoRA weights")
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
    if _needs_tenor(lora):
        add_token_order(getattr(pipe, "unet", None) or pipe.transformer)


def _needs_tenor(lora: LoraSource) -> bool:
    flags = lora.file.with_name(FLAGS_FILE)
    if not flags.exists():
        return False
    try:
        return bool(json.loads(flags.read_text("utf-8")).get("tenor", False))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelLoadError(f"{flags} cannot be read: {error}") from None
