"""Which noise levels a flow model is trained at: how they are drawn and how far shifted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from t2i_spatial.training.hyperparameters import LevelKind

_MODE_SCALE = 1.29
"""The best of Esser et al. 2024 (table 1), and what diffusers' scripts set."""


class Levels(NamedTuple):
    """How noise levels in [0, 1] are drawn, before any shift (Esser et al. 2024, section 3.1).

    Attributes:
        kind: as `compute_density_for_timestep_sampling` of diffusers' `training_utils` names them.
        mean, std: of the logit-normal kind, before the sigmoid.
    """

    kind: LevelKind = "logit_normal"
    mean: float = 0.0
    std: float = 1.0

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Levels of a batch, drawn on the CPU."""
        if self.kind == "logit_normal":
            drawn = torch.randn(count, generator=generator) * self.std + self.mean
            return torch.sigmoid(drawn)
        level = torch.rand(count, generator=generator)
        if self.kind == "uniform":
            return level
        bend = torch.cos(math.pi * level / 2) ** 2 - 1 + level
        return 1 - level - _MODE_SCALE * bend


def shifted(level: Tensor, shift: float) -> Tensor:
    """Noise levels moved towards 1 as schedulers move their steps (section 5.3.2 there)."""
    return shift * level / (1 + (shift - 1) * level)


def unshifted(level: Tensor, shift: float) -> Tensor:
    """Noise levels as they were before `shifted`."""
    return level / (shift - (shift - 1) * level)


def is_dynamic(config: Mapping[str, Any]) -> bool:
    """Whether a scheduler's shift grows with the image."""
    return bool(config.get("use_dynamic_shifting"))


def constant_shift(config: Mapping[str, Any]) -> float:
    """The one shift of a scheduler for all images; the bundled kind calls it flow_shift."""
    return float(config.get("flow_shift") or config.get("shift") or 1.0)


def shift_of_mu(config: Mapping[str, Any], mu: float) -> float:
    """What `time_shift` of diffusers' `FlowMatchEulerDiscreteScheduler` makes of mu."""
    return float(mu) if config.get("time_shift_type") == "linear" else math.exp(mu)


def mu_by_tokens(config: Mapping[str, Any], tokens: int) -> float:
    """`calculate_shift` of diffusers' pipelines: mu grows linearly with the tokens of the image."""
    fewest = config.get("base_image_seq_len", 256)
    most = config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(low + (high - low) * (tokens - fewest) / (most - fewest))
