"""A pipeline whose models are loaded one at a time, and freed when they have done their work."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from t2i_spatial.devices import give_back_memory
from t2i_spatial.errors import ModelLoadError, require
from t2i_spatial.generation.loading import component_dtype, load_component, load_pipeline
from t2i_spatial.generation.quantised import quantise
from t2i_spatial.generation.resolve import ModelSource, quiet_libraries

_PACKED = ("text_encoder", "unet", "transformer")
"""What may be in 8 or 4 bits, by how its name starts; a VAE may not."""


class Parts:
    """A pipeline of hollow models: their configuration is there, their weights are not.

    Attributes:
        pipe: the diffusers pipeline; models that are not loaded are on torch's meta device.

    Args:
        dtype: number format of the weights ("fp32", "bf16", "fp16").
        bits: 8 or 4 packs the linear layers of denoiser and text encoders.

    Raises:
        ModelLoadError: as `load_pipeline`.
    """

    def __init__(
        self,
        source: ModelSource,
        variant: str | None,
        dtype: str,
        *,
        device: str = "cpu",
        bits: int | None = None,
    ) -> None:
        self.source, self.variant, self.dtype = source, variant, dtype
        self.device, self.bits = device, bits
        self._hollow = hollow_models(source, dtype)
        self.pipe = load_pipeline(source, variant, dtype, given=self._hollow)

    @property
    def names(self) -> list[str]:
        """Every model of the pipeline."""
        return list(self._hollow)

    @property
    def text_encoders(self) -> list[str]:
        """The models that read texts."""
        return [name for name in self._hollow if name.startswith("text_encoder")]

    def load(self, names: Iterable[str]) -> None:
        """Load models onto the device; those that are there stay.

        Raises:
            ModelLoadError: weights that cannot be read.
        """
        for name in names:
            if getattr(self.pipe, name) is self._hollow[name]:
                module = load_component(
                    self.source, self.variant, self.dtype, name, type(self._hollow[name])
                )
                packed = self.bits in (8, 4) and name.startswith(_PACKED)
                module = (
                    quantise(module, int(self.bits or 0), self.device)
                    if packed
                    else module.to(self.device)
                )
                setattr(self.pipe, name, module)

    def free(self, names: Iterable[str]) -> None:
        """Give back the memory of models."""
        for name in names:
            setattr(self.pipe, name, self._hollow[name])
        give_back_memory(self.device)


def hollow_models(source: ModelSource, dtype: str = "fp32") -> dict[str, Any]:
    """The models of a checkpoint by name, without weights: from their configurations alone.

    Raises:
        ModelLoadError: a class that is not there, or a configuration that it does not take.
    """
    accelerate = require("accelerate", "generate")
    diffusers = require("diffusers", "generate")
    torch = require("torch", "generate")
    found = {}
    index = diffusers.DiffusionPipeline.load_config(str(source.folder))
    for name, entry in index.items():
        if not isinstance(entry, list | tuple) or len(entry) != 2 or entry[0] is None:
            continue
        kind = _model_class(*entry)
        if kind is None or not issubclass(kind, torch.nn.Module):
            continue
        try:
            with quiet_libraries(), accelerate.init_empty_weights():
                module = _from_config(kind, str(source.folder), name)
                found[name] = module.to(component_dtype(source, dtype, name)).eval()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = str(error).partition("\n")[0]
            raise ModelLoadError(f"{source.name!r} cannot be loaded: {name}: {reason}") from None
    return found


def _from_config(kind: Any, folder: str, name: str) -> Any:
    if hasattr(kind, "load_config"):  # of diffusers
        return kind.from_config(kind.load_config(folder, subfolder=name))
    return kind(kind.config_class.from_pretrained(folder, subfolder=name))


def _model_class(library: str, name: str) -> Any:
    """A class that an index names; `None` where it lies in code that comes with the model."""
    if library not in ("diffusers", "transformers"):
        # a module of a pipeline, such as `stable_diffusion` for its safety checker
        library = f"diffusers.pipelines.{library}"
    try:
        return getattr(importlib.import_module(library), name, None)
    except ImportError:
        return None
