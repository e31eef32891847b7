"""LoRA fine-tuning on a curated set of images."""

from typing import TYPE_CHECKING

from t2i_spatial.training.hyperparameters import FinetuneSettings

if TYPE_CHECKING:
    from t2i_spatial.training.trainer import finetune

__all__ = ["FinetuneSettings", "finetune"]


def __getattr__(name: str) -> object:
    if name == "finetune":  # torch is loaded on use
        from t2i_spatial.training.trainer import finetune

        return finetune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
