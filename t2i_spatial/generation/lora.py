"""LoRA weights on a pipeline: every tensor of the file must find its place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from t2i_spatial.errors import ModelLoadError, require
from t2i_spatial.generation.lora_file import Layer, read_lora
from t2i_spatial.generation.resolve import LoraSource, quiet_libraries
from t2i_spatial.generation.tenor import add_token_order
from t2i_spatial.progress import note

FLAGS_FILE = "t2i_spatial_lora.json"
"""Stands beside LoRA weights of ours and says how they must be used."""

EDM = "edm"
"""What a denoiser with the preconditioning of Karras et al. 2022 predicts (Playground v2.5)."""


def attach_loras(pipe: Any, loras: Sequence[tuple[LoraSource, float]]) -> None:
    """Load LoRA weights into a pipeline, each at its strength; their updates add up.

    PEFT's layers are put in where the files have tensors and nowhere else, so that families whose
    pipelines cannot load LoRA take them too.

    Raises:
        ModelLoadError: as `read_lora`; or they were trained for another kind of prediction, or
            only some of them with TENOR.
    """
    if not loras:
        return
    flags = [lora_flags(pipe, lora) for lora, _ in loras]
    orders = {flag["tenor"] for flag in flags if "tenor" in flag}
    if len(orders) > 1:
        raise ModelLoadError("some of these LoRAs were trained with --tenor and some without")
    files = [read_lora(pipe, lora) for lora, _ in loras]
    for number, ((lora, _), file, flag) in enumerate(zip(loras, files, flags, strict=True)):
        for part, layers in file.parts.items():
            _inject(getattr(pipe, part), layers, f"lora{number}", lora)
        if not flag:
            note(f"LoRA {lora.name}: {file}")
    names = [f"lora{number}" for number in range(len(loras))]
    for part in {part for file in files for part in file.parts}:
        _activate(getattr(pipe, part), names, [weight for _, weight in loras])
    if True in orders:
        add_token_order(getattr(pipe, "unet", None) or pipe.transformer)


def _inject(module: Any, layers: Mapping[str, Layer], name: str, lora: LoraSource) -> None:
    peft = require("peft", "generate")
    dora = {layer.magnitude is not None for layer in layers.values()}
    if len(dora) > 1:
        raise ModelLoadError(f"the LoRA {lora.name!r} has DoRA's magnitudes for some layers only")
    patterns = {key: "^" + re.escape(key) for key in layers}  # "^": not every layer that ends so
    config = peft.LoraConfig(
        r=next(iter(layers.values())).rank,
        rank_pattern={patterns[key]: layer.rank for key, layer in layers.items()},
        alpha_pattern={patterns[key]: layer.alpha for key, layer in layers.items()},
        target_modules=list(layers),
        use_dora=True in dora,
    )
    state = {}
    for key, layer in layers.items():
        state[f"{key}.lora_A.weight"] = layer.down
        state[f"{key}.lora_B.weight"] = layer.up
        if layer.magnitude is not None:
            state[f"{key}.lora_magnitude_vector"] = layer.magnitude
    with quiet_libraries():
        peft.inject_adapter_in_model(config, module, adapter_name=name, state_dict=state)
        told = peft.set_peft_model_state_dict(module, state, adapter_name=name)
    missing = [key for key in told.missing_keys if f".{name}." in key]
    if told.unexpected_keys or missing:
        raise ModelLoadError(
            f"peft could not place {len(told.unexpected_keys) + len(missing)} tensors of the LoRA "
            f"{lora.name!r}, such as {[*told.unexpected_keys, *missing][0]}"
        )


def _activate(module: Any, names: Sequence[str], weights: Sequence[float]) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer in module.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.set_adapter(list(names))
            for name, weight in zip(names, weights, strict=True):
                layer.set_scale(name, weight)
    module.requires_grad_(False)


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
