from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.training.families.flux import Flux
from t2i_spatial.training.families.noise_levels import Levels
from t2i_spatial.training.objective import Diffusion, Flow
from tests.tiny_models import SIZE, tiny_model

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LATENTS = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def draw(objective, seed=1):
    return objective(LATENTS, torch.Generator().manual_seed(seed))


def diffusion(kind, min_snr=None):
    from diffusers import DDPMScheduler

    return Diffusion(DDPMScheduler(**BETAS, prediction_type=kind), min_snr)


def flow(scheduler):
    return Flow(Levels(), Flux(SimpleNamespace(scheduler=scheduler)).shift)


def alphas(noised):
    kept = diffusion("epsilon").schedule.alphas_cumprod[noised.time][:, None, None, None]
    return kept.sqrt(), (1 - kept).sqrt()


def test_epsilon_is_the_noise_that_was_added():
    noised = draw(diffusion("epsilon"))
    signal, noise = alphas(noised)
    assert torch.allclose(signal * LATENTS + noise * noised.target, noised.latents, atol=1e-5)
    assert noised.factor.tolist() == [1.0] * 64


def test_v_recovers_the_image():
    noised = draw(diffusion("v_prediction"))
    signal, noise = alphas(noised)
    assert torch.allclose(signal * noised.latents - noise * noised.target, LATENTS, atol=1e-4)


def test_min_snr_caps_what_nearly_clean_images_count():
    for kind, extra in (("epsilon", 0), ("v_prediction", 1)):
        noised = draw(diffusion(kind, min_snr=5.0))
        signal, noise = (part.flatten() for part in alphas(noised))
        snr = (signal / noise) ** 2
        expected = torch.minimum(snr, torch.tensor(5.0)) / (snr + extra)
        assert torch.allclose(noised.factor, expected, rtol=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_where_the_last_step_has_no_signal_left(kind):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(**BETAS, prediction_type=kind, rescale_betas_zero_snr=True)
    objective = Diffusion(scheduler, 5.0)
    last = torch.tensor([0, 500, 999])
    assert objective.schedule.alphas_cumprod[999] == 0
    factor = objective._factor(last)
    assert factor.isfinite().all()
    assert factor[2] == (1.0 if kind == "epsilon" else 0.0)


@pytest.mark.parametrize(("options", "shift"), [({"shift": 3.0}, 3.0), ({}, 1.0)])
def test_flow_goes_straight_from_image_to_noise(options, shift):
    from diffusers import FlowMatchEulerDiscreteScheduler

    objective = flow(FlowMatchEulerDiscreteScheduler(**options))
    assert objective.shift(8, 8) == shift
    noised = draw(objective)
    level = (noised.time / 1000)[:, None, None, None]
    assert ((level > 0) & (level < 1)).all()
    assert torch.allclose(noised.latents - level * noised.target, LATENTS, atol=1e-5)
    many = torch.randn(20_000, 1, 1, 1)
    median = objective(many, torch.Generator().manual_seed(0)).time.median() / 1000
    assert float(median) == pytest.approx(shift / (1 + shift), abs=0.01)


def test_the_bundled_kind_of_scheduler_names_its_shift_otherwise():
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=2.0
    )
    assert flow(scheduler).shift(8, 8) == 2.0


def test_the_shift_of_flux_grows_with_the_image():
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    objective = flow(scheduler)  # the settings of Flux.1 dev
    assert objective.shift(64, 64) == pytest.approx(1.88, abs=0.005)  # 512 pixels
    assert objective.shift(128, 128) == pytest.approx(math.exp(1.15))  # 1024
    assert objective.shift(64, 128) == pytest.approx(math.exp(0.5 + 0.65 * 1792 / 3840))
    noised = objective(torch.zeros(2000, 1, 64, 64), torch.Generator().manual_seed(0))
    assert float(noised.time.median() / 1000) == pytest.approx(1.88 / 2.88, abs=0.02)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("flux", {}),
        ("flux", {"time_shift_type": "linear"}),
        ("flux", {"use_dynamic_shifting": False}),
        ("sd3", {}),
        ("sd3", {"use_dynamic_shifting": True, "base_shift": 0.1}),
    ],
)
def test_the_shift_is_that_of_the_pipeline(family, options):
    """Without its shift, the noise levels of a sampling are evenly spaced."""
    from diffusers import AutoPipelineForText2Image, FlowMatchEulerDiscreteScheduler

    pipe = AutoPipelineForText2Image.from_pretrained(tiny_model(family), use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, **options)
    pipe("a cat", num_inference_steps=6, width=SIZE, height=SIZE, output_type="latent")
    shift = flow(pipe.scheduler).shift(SIZE // 2, SIZE // 2)
    assert shift != 1
    sigmas = pipe.scheduler.sigmas[:-1]
    steps = (sigmas / (sigmas + shift * (1 - sigmas))).diff()
    assert torch.allclose(steps, steps.mean(), atol=1e-5)


def test_what_cannot_be_trained_is_said():
    from diffusers import DDPMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

    from t2i_spatial.training import FinetuneSettings
    from t2i_spatial.training.objective import find_objective

    def family(scheduler):
        return SimpleNamespace(pipe=SimpleNamespace(scheduler=scheduler))

    with pytest.raises(ModelLoadError, match="predict 'sample'"):
        find_objective(family(DDPMScheduler(prediction_type="sample")), FinetuneSettings())
    with pytest.raises(ModelLoadError, match="preconditioning of EDM is not supported"):
        find_objective(family(EDMEulerScheduler()), FinetuneSettings())
    with pytest.raises(ModelLoadError, match="min-SNR"):
        find_objective(family(FlowMatchEulerDiscreteScheduler()), FinetuneSettings(min_snr=5.0))


@pytest.mark.parametrize("kind", ["logit_normal", "uniform", "mode"])
def test_levels_are_drawn_as_diffusers_scripts_draw_them(kind):
    from diffusers.training_utils import compute_density_for_timestep_sampling

    ours = Levels(kind, 0.3, 1.2).draw(20_000, torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    theirs = compute_density_for_timestep_sampling(kind, 20_000, 0.3, 1.2, mode_scale=1.29)
    quarters = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    assert torch.allclose(ours.quantile(quarters), theirs.quantile(quarters), atol=0.015)


def test_options_that_would_change_nothing_are_refused():
    from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

    from t2i_spatial.errors import InputError
    from t2i_spatial.training import FinetuneSettings
    from t2i_spatial.training.objective import find_objective

    noise = Flux(SimpleNamespace(scheduler=DDPMScheduler()))
    with pytest.raises(ModelLoadError, match="--noise-levels is of flow models"):
        find_objective(noise, FinetuneSettings(noise_levels="uniform"))
    flow_model = Flux(SimpleNamespace(scheduler=FlowMatchEulerDiscreteScheduler()))
    with pytest.raises(InputError, match="of --noise-levels logit_normal, not of uniform"):
        find_objective(flow_model, FinetuneSettings(noise_levels="uniform", noise_mean=1.0))
