"""What fine-tuning can be told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from t2i_spatial.progress import note
from t2i_spatial.settings import AutoDtype, Option, Settings, short_dtype

LevelKind = Literal["logit_normal", "uniform", "mode"]
"""Ways to draw the noise levels of flow models."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class FinetuneSettings(Settings):
    """Settings of `finetune`. There is no flip and no random crop, on purpose."""

    model: str = Field(
        default="bundled", description="'bundled', a diffusers hub id or local folder."
    )
    revision: str | None = Field(default=None, description="Commit, tag or branch of a hub id.")
    variant: str | None = Field(
        default=None, description="Weight files of a variant, such as fp16."
    )
    offline: bool = Field(default=False, description="Use only models that are on this machine.")
    device: str = Field(default="auto", description="auto, cpu or cuda:0.")
    dtype: AutoDtype = Field(
        default="auto",
        description="Number format of the computation; auto: float32 on the CPU, bfloat16 (else "
        "float16) on a GPU.",
    )

    steps: int = Field(default=500, ge=1, le=100_000_000, description="Optimiser steps.")
    batch_size: int = Field(default=16, ge=1, le=1_000_000, description="Images at a time.")
    accumulate: int = Field(default=1, ge=1, le=1_000_000, description="Batches per step.")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1e30,
        description="Of AdamW.  [default: 2e-3 for 'bundled', else 1e-4]",
    )
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="Of the learning rate."
    )
    warmup: int = Field(default=20, ge=0, description="Steps until the full learning rate.")
    weight_decay: float = Field(default=0.01, ge=0, description="Of AdamW.")
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Longer gradients are shortened to this."
    )

    rank: int = Field(default=16, ge=1, le=1024, description="Of the LoRA matrices.")
    alpha: float | None = Field(
        default=None, gt=0, description="Scale of the LoRA times its rank.  [default: the rank]"
    )
    targets: tuple[str, ...] = Field(
        default=("attention",),
        min_length=1,
        description="Layers that get a LoRA: attention, mlp (of the model's family), or the end of "
        "their name.",
    )
    text_encoder: bool = Field(
        default=False, description="Train LoRA layers in the CLIP text encoders too."
    )
    lora: str | None = Field(default=None, description="Start from these LoRA weights.")
    tenor: bool = Field(
        default=False,
        description="Add token order to the keys of text attention, here and when generating.",
    )
    token_loss: float = Field(
        default=0.0,
        ge=0,
        description="Factor of the attention loss on tokens (needs `objects`).",
    )
    pixel_loss: float = Field(
        default=0.0,
        ge=0,
        description="Factor of the attention loss on pixels (needs `objects`).",
    )

    resolution: int | None = Field(
        default=None, ge=8, le=4096, description="Pixels.  [default: the model's own size]"
    )
    caption_columns: tuple[str, ...] = Field(
        default=(),
        description="Columns of the data that hold captions; of several captions of an image one "
        "is drawn every epoch.  [default: text, caption, captions, prompt or txt]",
    )
    caption_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of captions left empty, for guidance."
    )
    truncate_captions: bool = Field(
        default=False, description="Accept captions whose end the text encoder does not read."
    )
    min_snr: float | None = Field(
        default=None, gt=0, description="Gamma of min-SNR weights.  [default: none]"
    )
    noise_levels: LevelKind | None = Field(
        default=None,
        description="How flow models draw noise levels before they are shifted as in sampling.  "
        "[default: as the model's family does]",
    )
    noise_mean: float = Field(
        default=0.0, description="Of the logit-normal noise level (flow models)."
    )
    noise_std: float = Field(
        default=1.0, gt=0, description="Of the logit-normal noise level (flow models)."
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay of a moving average to save.  [default: none]",
    )
    base_bits: Annotated[Literal[16, 8, 4], BeforeValidator(_whole)] | None = Field(
        default=None,
        description="Of the frozen weights; 8 and 4 pack linear layers of denoiser and text "
        "encoders with bitsandbytes.  [default: as --dtype; 32 on the CPU]",
    )
    gradient_checkpointing: bool = Field(default=False, description="Less memory, more time.")
    compile: bool = Field(default=False, description="torch.compile the denoiser.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of everything random.")

    checkpoint_every: int = Field(default=100, ge=1, description="Steps between checkpoints.")
    validate_every: int = Field(
        default=0, ge=0, description="Steps between validation images; 0: none."
    )
    validation_prompts: tuple[str, ...] = Field(
        default=(), description="Of the validation images.  [default: the first four captions]"
    )
    trackers: Annotated[tuple[str, ...], Option(metavar="NAME")] = Field(
        default=(), description="tensorboard, wandb, mlflow …  [default: none]"
    )

    @model_validator(mode="before")
    @classmethod
    def _old_names(cls, data: Any) -> Any:
        if isinstance(data, dict) and "precision" in data and "dtype" not in data:
            note("finetune: `precision` is now called `dtype`")
            data = {("dtype" if key == "precision" else key): data[key] for key in data}
        return data

    @property
    def rate(self) -> float:
        """The learning rate: as given, 2e-3 for the tiny bundled model, 1e-4 for any other."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-3 if self.model == "bundled" else 1e-4

    def plan(self) -> dict[str, Any]:
        """What determines the weights; the rest may change between interruption and resumption."""
        ignored = {
            "offline",
            "device",
            "dtype",
            "caption_columns",  # the hash of the data knows the captions
            "checkpoint_every",
            "validate_every",
            "validation_prompts",
            "trackers",
        }
        return self.model_dump(mode="json", exclude=ignored) | {
            "learning_rate": self.rate,
            "precision": short_dtype(self.dtype),
        }
