"""What fine-tuning can be told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


class FinetuneSettings(BaseModel):
    """Settings of `finetune`. There is no flip and no random crop, on purpose."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = "bundled"
    revision: str | None = None
    variant: str | None = None
    offline: bool = False
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"

    steps: int = Field(default=500, ge=1)
    batch_size: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float | None = Field(default=None, gt=0, le=1e30)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(default=20, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)

    rank: int = Field(default=16, ge=1, le=1024)
    alpha: float | None = Field(default=None, gt=0)
    targets: tuple[str, ...] = ATTENTION
    text_encoder: bool = False
    lora: str | None = None
    tenor: bool = False
    token_loss: float = Field(default=0.0, ge=0)
    pixel_loss: float = Field(default=0.0, ge=0)

    resolution: int | None = Field(default=None, ge=8, le=4096)
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    truncate_captions: bool = False
    min_snr: float | None = Field(default=None, gt=0)
    noise_mean: float = 0.0
    noise_std: float = Field(default=1.0, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    gradient_checkpointing: bool = False
    compile: bool = False
    seed: int = Field(default=0, ge=0, lt=2**63)

    checkpoint_every: int = Field(default=100, ge=1)
    validate_every: int = Field(default=0, ge=0)
    validation_prompts: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()

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
            "checkpoint_every",
            "validate_every",
            "validation_prompts",
            "trackers",
        }
        return self.model_dump(mode="json", exclude=ignored) | {"learning_rate": self.rate}
