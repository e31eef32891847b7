"""LoRA layers on a pipeline: adding, starting from a file, and saving as diffusers loads them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from t2i_spatial.errors import InputError, ModelLoadError, T2ISpatialError, require
from t2i_spatial.files import atomic_write, write_json
from t2i_spatial.generation.lora import lora_flags
from t2i_spatial.generation.lora_file import Layer, read_lora
from t2i_spatial.generation.resolve import (
    LORA_FILE,
    PEFT_FILE,
    PEFT_SETTINGS,
    LoraSource,
)
from t2i_spatial.training.families import Family
from t2i_spatial.training.hyperparameters import FinetuneSettings

_TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


class Adapters:
    """The trainable layers of a pipeline, in float32.

    Attributes:
        parts: adapted modules by the name diffusers gives them ("unet", "text_encoder").
        parameters: trainable tensors by `<part>.<name>`, in a fixed order.
    """

    def __init__(self, family: Family, settings: FinetuneSettings) -> None:
        peft = require("peft", "train")
        self.tenor = settings.tenor
        self.rank = settings.rank
        self.targets = family.targets(settings.targets)
        self.scale = (settings.alpha or settings.rank) / settings.rank
        self.parts: dict[str, nn.Module] = {family.part: family.denoiser}
        if settings.text_encoder:
            encoders = family.text_encoders()
            if not encoders:
                raise InputError(f"--text-encoder: {family.title} has no text encoder to train")
            self.parts |= encoders
        for component in family.pipe.components.values():
            if isinstance(component, nn.Module):
                component.requires_grad_(False).eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            for part, module in self.parts.items():
                config = peft.LoraConfig(
                    r=settings.rank,
                    lora_alpha=settings.alpha or settings.rank,
                    init_lora_weights="gaussian",
                    target_modules=self.targets if part == family.part else list(_TEXT_TARGETS),
                )
                try:
                    if hasattr(module, "add_adapter"):
                        module.add_adapter(config)
                    else:
                        peft.inject_adapter_in_model(config, module)
                except ValueError as error:
                    raise InputError(
                        f"no layers named {', '.join(self.targets)} in the {part}: "
                        f"{str(error).splitlines()[0]}"
                    ) from None
        self.parameters: dict[str, nn.Parameter] = {}
        for part, module in self.parts.items():
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()
                    self.parameters[f"{part}.{name}"] = parameter

    def start_from(self, pipe: Any, lora: LoraSource) -> None:
        """Take over the weights of a LoRA of the same shape, and its scale.

        Raises:
            ModelLoadError: it was made for another architecture, rank or set of layers, another
                kind of prediction, or with the other setting of TENOR; or it is a DoRA.
        """
        peft = require("peft", "train")
        used = lora_flags(pipe, lora).get("tenor")
        if used is not None and used != self.tenor:
            raise ModelLoadError(
                f"the LoRA {lora.name!r} was trained {'with' if used else 'without'} --tenor"
            )
        file = read_lora(pipe, lora)
        given = {
            f"{part}.{name}.{half}.weight": value
            for part, layers in file.parts.items()
            for name, layer in layers.items()
            for half, value in (("lora_A", layer.down), ("lora_B", self._scaled(layer, lora)))
        }
        own = {
            f"{part}.{name}": value
            for part, module in self.parts.items()
            for name, value in peft.get_peft_model_state_dict(module).items()
        }
        wrong = sorted(set(own) ^ set(given)) or [
            f"{name} {tuple(given[name].shape)}, here {tuple(value.shape)}"
            for name, value in own.items()
            if given[name].shape != value.shape
        ]
        if wrong:
            raise ModelLoadError(
                f"the LoRA {lora.name!r} ({file}) cannot be continued: {len(wrong)} of its layers "
                f"differ from those trained here, such as {wrong[0]} (another rank or targets?)"
            )
        for part, module in self.parts.items():
            state = {
                name.removeprefix(f"{part}."): value
                for name, value in given.items()
                if name.startswith(f"{part}.")
            }
            peft.set_peft_model_state_dict(module, state)

    def _scaled(self, layer: Layer, lora: LoraSource) -> Tensor:
        """The upper matrix that gives the same update at the scale trained here."""
        if layer.magnitude is not None:
            raise ModelLoadError(f"the LoRA {lora.name!r} is a DoRA, which cannot be continued")
        up: Tensor = layer.up.float() * (layer.alpha / layer.rank / self.scale)
        return up

    def save(self, pipe: Any, folder: Path, values: Mapping[str, Tensor] | None = None) -> Path:
        """Write `pytorch_lora_weights.safetensors` whole or not at all.

        The scale alpha / rank is multiplied into the weights: every loader then agrees, also those
        that do not read alpha from the file. For a denoiser into which diffusers loads no LoRA, the
        same weights are written as `PeftModel.from_pretrained` reads them, too.

        Args:
            values: save these instead of the present values (the moving average).

        Raises:
            T2ISpatialError: a full disk.
        """
        peft = require("peft", "train")
        with self.holding(values or {}):
            layers = {
                part: {
                    name: (value * self.scale if "lora_B" in name else value).cpu().contiguous()
                    for name, value in peft.get_peft_model_state_dict(module).items()
                }
                for part, module in self.parts.items()
            }
        content = _content(pipe, layers)
        for part, module in self.parts.items():
            if not hasattr(module, "load_lora_adapter") and not part.startswith("text_encoder"):
                self._save_for_peft(folder, layers[part])
        with atomic_write(folder / LORA_FILE) as file:
            file.write(content)
        return folder / LORA_FILE

    def _save_for_peft(self, folder: Path, layers: Mapping[str, Tensor]) -> None:
        peft = require("peft", "train")
        config = peft.LoraConfig(
            r=self.rank, lora_alpha=self.rank, target_modules=self.targets, inference_mode=True
        ).to_dict()
        with atomic_write(folder / PEFT_FILE) as file:
            file.write(_serialised({f"base_model.model.{k}": v for k, v in layers.items()}))
        write_json(folder / PEFT_SETTINGS, config | {"target_modules": self.targets})

    def holding(self, values: Mapping[str, Tensor]) -> _Holding:
        """A context in which the parameters have other values."""
        return _Holding(self.parameters, values)


def _content(pipe: Any, layers: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    """A LoRA file as the pipeline's class writes it; of one that writes none, as others do."""
    if not hasattr(type(pipe), "save_lora_weights"):
        return _serialised(
            {f"{part}.{name}": value for part, own in layers.items() for name, value in own.items()}
        )
    safetensors = require("safetensors", "train")
    try:
        with tempfile.TemporaryDirectory() as temporary:
            named = {f"{part}_lora_layers": own for part, own in layers.items()}
            type(pipe).save_lora_weights(temporary, **named)
            return (Path(temporary) / LORA_FILE).read_bytes()
    except (OSError, safetensors.SafetensorError) as error:
        raise T2ISpatialError(f"cannot write a temporary file: {error}") from None


def _serialised(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    content: bytes = save(tensors, {"format": "pt"})
    return content


class _Holding:
    def __init__(
        self, parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]
    ) -> None:
        self.parameters, self.values = parameters, values

    def __enter__(self) -> None:
        self.kept = {name: self.parameters[name].data for name in self.values}
        for name, value in self.values.items():
            self.parameters[name].data = value

    def __exit__(self, *exception: object) -> None:
        for name, value in self.kept.items():
            self.parameters[name].data = value
