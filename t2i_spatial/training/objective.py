"""What the denoiser learns to predict: noise, v, or the flow from image to noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from t2i_spatial.errors import InputError, ModelLoadError
from t2i_spatial.generation.lora import EDM, prediction_of
from t2i_spatial.training.families import Family
from t2i_spatial.training.families.noise_levels import Levels, shifted
from t2i_spatial.training.hyperparameters import FinetuneSettings


class Noised(NamedTuple):
    """A training batch: noisy latents, times in [0, 1000], target, loss factor per image."""

    latents: Tensor
    time: Tensor
    target: Tensor
    factor: Tensor

    def part(self, rows: slice) -> Noised:
        """Some rows of the batch."""
        return Noised(*(tensor[rows] for tensor in self))


class Diffusion:
    """Epsilon- or v-prediction on the model's own noise schedule, times drawn uniformly."""

    def __init__(self, scheduler: Any, min_snr: float | None) -> None:
        from diffusers import DDPMScheduler

        self.schedule = DDPMScheduler.from_config(scheduler.config)
        self.kind = self.schedule.config.prediction_type
        self.min_snr = min_snr

    def __call__(self, latents: Tensor, generator: torch.Generator) -> Noised:
        """Noise a batch. Random numbers are drawn on the CPU, the same on every device."""
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        count = self.schedule.config.num_train_timesteps
        time = torch.randint(count, (len(latents),), generator=generator).to(latents.device)
        noisy = self.schedule.add_noise(latents, noise, time)
        if self.kind == "epsilon":
            target = noise
        else:
            target = self.schedule.get_velocity(latents, noise, time)
        return Noised(noisy, time, target, self._factor(time))

    def _factor(self, time: Tensor) -> Tensor:
        """Min-SNR weights (Hang et al. 2023, eq. 8 and its v-prediction form)."""
        if self.min_snr is None:
            return torch.ones(len(time), device=time.device)
        kept = self.schedule.alphas_cumprod.to(time.device)[time]
        snr = kept / (1 - kept)
        if self.kind == "epsilon":
            # not min(snr, gamma) / snr: a schedule of zero terminal SNR ends with snr = 0
            return (self.min_snr / snr).clamp(max=1.0)
        return snr.clamp(max=self.min_snr) / (snr + 1)


class Flow:
    """Flow matching: x = (1 - s) z + s noise, target noise - z, time 1000 s.

    The noise level s is drawn as the family draws it and then shifted as its pipeline shifts its
    own steps at that size, so training sees what sampling asks for.

    Args:
        levels: how s is drawn.
        shift: the shift for latents of a height and width.
    """

    def __init__(self, levels: Levels, shift: Callable[[int, int], float]) -> None:
        self.levels, self.shift = levels, shift

    def __call__(self, latents: Tensor, generator: torch.Generator) -> Noised:
        """Noise a batch. Random numbers are drawn on the CPU, the same on every device."""
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        drawn = self.levels.draw(len(latents), generator).to(latents)
        level = shifted(drawn, self.shift(*latents.shape[-2:]))
        mixed = level[:, None, None, None]
        noisy = (1 - mixed) * latents + mixed * noise
        return Noised(noisy, level * 1000, noise - latents, torch.ones_like(level))


def find_objective(family: Family, settings: FinetuneSettings) -> Diffusion | Flow:
    """What the scheduler of a pipeline says its denoiser predicts.

    Raises:
        ModelLoadError: a prediction that is not supported, min-SNR for a flow model, or noise
            levels for another one.
        InputError: the mean or deviation of noise levels that have none.
    """
    scheduler = family.pipe.scheduler
    kind = prediction_of(family.pipe)
    if kind == EDM:
        raise ModelLoadError(
            f"models with {type(scheduler).__name__} cannot be fine-tuned: the preconditioning of "
            "EDM is not supported"
        )
    if kind == "flow_prediction":
        if settings.min_snr is not None:
            raise ModelLoadError("min-SNR weights are defined for noise and v-prediction only")
        return Flow(_levels(family, settings), family.shift)
    if settings.noise_levels is not None:
        raise ModelLoadError(f"--noise-levels is of flow models; this one predicts {kind!r}")
    if kind not in ("epsilon", "v_prediction"):
        raise ModelLoadError(f"models that predict {kind!r} cannot be fine-tuned")
    return Diffusion(scheduler, settings.min_snr)


def _levels(family: Family, settings: FinetuneSettings) -> Levels:
    levels = Levels(settings.noise_levels or family.levels, settings.noise_mean, settings.noise_std)
    if levels.kind != "logit_normal" and levels[1:] != Levels()[1:]:
        raise InputError(
            f"--noise-mean and --noise-std are of --noise-levels logit_normal, not of {levels.kind}"
        )
    return levels
