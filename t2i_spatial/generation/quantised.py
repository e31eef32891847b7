"""Frozen weights in 8 or 4 bits: the linear layers of a model become those of bitsandbytes."""

from __future__ import annotations

from typing import Any

from t2i_spatial.devices import trim_heap
from t2i_spatial.errors import ModelLoadError, require


def quantise(module: Any, bits: int, device: str) -> Any:
    """Move a model to a device with the weights of its linear layers in 8 or 4 bits.

    The layers are those that diffusers and transformers put in for a `BitsAndBytesConfig` (LLM.int8
    with its threshold of 6; NF4 in blocks of 64), which load on GPUs only; these work wherever
    bitsandbytes does. As there, modules that the class keeps in float32 and the head of a language
    model stay as they are. One layer is converted at a time: where the weights are mapped from a
    file in their own number format, the whole model is never in memory.

    Raises:
        MissingDependencyError: bitsandbytes is not installed.
        ModelLoadError: bitsandbytes cannot compute on this device.
    """
    torch = require("torch", "quantize")
    kept = {*(getattr(module, "_keep_in_fp32_modules", None) or ()), "lm_head"}
    names = [
        name
        for name, layer in module.named_modules()
        # exactly: a subclass may read its weight by itself, as that of nn.MultiheadAttention
        if type(layer) is torch.nn.Linear and not kept & set(name.split("."))
    ]
    try:
        for name in names:
            parent, _, own = name.rpartition(".")
            new = _converted(module.get_submodule(name), bits).to(device)
            setattr(module.get_submodule(parent), own, new)
            trim_heap()
        module.to(device)
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelLoadError(f"no weights of {bits} bits on {device}: {reason}") from None
    # peft looks here before it chooses its layers
    module.is_loaded_in_8bit, module.is_loaded_in_4bit = bits == 8, bits == 4
    return module


def _converted(layer: Any, bits: int) -> Any:
    """The layer with weights that are packed when it is moved to a device."""
    bnb = require("bitsandbytes", "quantize")
    weight = layer.weight.detach()
    shape = {"bias": layer.bias is not None, "device": "meta"}
    if bits == 8:
        new = bnb.nn.Linear8bitLt(
            layer.in_features, layer.out_features, has_fp16_weights=False, threshold=6.0, **shape
        )
        new.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        new = bnb.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            compute_dtype=weight.dtype,
            quant_type="nf4",
            **shape,
        )
        # packing anew for inference on some CPUs wants widths of whole blocks, and has no gradient
        new.support_avx512bf16_for_cpu = False
        new.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", module=new)
    new.bias = layer.bias
    return new.requires_grad_(False)
