"""Each family with its tiny checkpoint: the pipeline's own step, a training, its LoRA elsewhere."""

from __future__ import annotations

import functools
import inspect
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.generation.loading import load_pipeline
from t2i_spatial.generation.lora import attach_loras
from t2i_spatial.generation.resolve import resolve_lora, resolve_model
from t2i_spatial.training import finetune
from t2i_spatial.training.families import find_family
from t2i_spatial.training.families.noise_levels import unshifted
from t2i_spatial.training.families.text import join, split
from t2i_spatial.training.loop import Loop
from t2i_spatial.training.trainer import _checkpoint_gradients
from tests.tiny_models import FAMILIES, SIZE, tiny_model
from tests.training.lora_runs import LORA, content, same, settings

UNGUIDED = {
    "sdxl": {"guidance_scale": 1.0},
    "sd3": {"guidance_scale": 1.0},
    "flux": {"guidance_scale": 1.0},
    "kolors": {"guidance_scale": 1.0},
    "qwen_image": {},
    "flux2_klein": {"guidance_scale": 1.0},
    "flux2_dev": {"guidance_scale": 1.0},
    "z_image": {"guidance_scale": 0.0},
    "chroma": {"guidance_scale": 1.0},
    "hidream": {"guidance_scale": 1.0},
    "sana": {"guidance_scale": 1.0, "use_resolution_binning": False},
    "lumina2": {"guidance_scale": 1.0},
    "aura_flow": {"guidance_scale": 1.0},
    "pixart": {"guidance_scale": 1.0, "use_resolution_binning": False},
    "cogview4": {"guidance_scale": 1.0},
    "hunyuan_image": {},
    "krea2": {"guidance_scale": 0.0},
    "wan": {"guidance_scale": 1.0, "num_frames": 1},
}
"""How each pipeline is called so that it asks its denoiser once for a step."""

TRAINED = [family for family in UNGUIDED if family not in FAMILIES]
"""The others are trained by `test_finetune`."""

FLOWS = [family for family in UNGUIDED if family not in ("sdxl", "kolors", "pixart")]

CAPTIONS = ['a "cat" left of a dog', "a dog on a chair that is to the right of a table", ""]


def loaded(family):
    pipe = load_pipeline(resolve_model(str(tiny_model(family))), None, "fp32")
    pipe.set_progress_bar_config(disable=True)
    for guider in (getattr(pipe, name, None) for name in ("guider", "ocr_guider")):
        if guider is not None:
            guider._enabled = False
    if family == "hidream":  # otherwise a megapixel, whatever is asked
        pipe.default_sample_size = SIZE // pipe.vae_scale_factor
    return pipe


@functools.cache
def untouched(family):
    """A pipeline that several tests read."""
    return loaded(family)


def steps_of(pipe, family, **other):
    """Latents before each of the pipeline's steps, time of its noise level, and its prediction."""
    seen = []
    step = pipe.scheduler.step

    def spy(prediction, time, sample, *rest, **options):
        level = 1000 * pipe.scheduler.sigmas[len(seen)] if family in FLOWS else time
        scale = getattr(pipe.scheduler, "scale_model_input", lambda latents, _: latents)
        seen.append((_spatial(pipe, scale(sample, time)), level, _spatial(pipe, prediction)))
        return step(prediction, time, sample, *rest, **options)

    options = {"width": SIZE, "height": SIZE, "num_inference_steps": 3, **other, **UNGUIDED[family]}
    random = torch.Generator().manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipe.scheduler, "step", spy)
        pipe(prompt=CAPTIONS[0], generator=random, output_type="latent", **options)
    return seen


def _spatial(pipe, latents):
    if latents.ndim == 3 and hasattr(pipe, "_unpack_latents_with_ids"):
        side = SIZE // pipe.vae_scale_factor // 2
        places = pipe._prepare_latent_ids(torch.zeros(1, 1, side, side))
        return pipe._unpack_latents_with_ids(latents, places)
    if latents.ndim == 3:
        factor = "vae_scale_factor" in inspect.signature(pipe._unpack_latents).parameters
        sizes = (SIZE, SIZE, pipe.vae_scale_factor) if factor else (SIZE, SIZE)
        latents = pipe._unpack_latents(latents, *sizes)
    return latents.squeeze(2) if latents.ndim == 5 else latents


@pytest.mark.parametrize("family", UNGUIDED)
def test_the_prediction_is_that_of_the_pipelines_own_step(family):
    """Captions of other lengths in the same batch change nothing."""
    pipe = untouched(family)
    found = find_family(pipe)
    steps = steps_of(pipe, family)
    assert len(steps) == 3
    with torch.no_grad():
        text = join(split(found.encode(CAPTIONS)))
        for noisy, time, expected in steps:
            count = len(CAPTIONS)
            ours = found.predict(noisy.repeat(count, 1, 1, 1), time.expand(count), text)
            assert torch.allclose(ours[0], expected[0], atol=2e-6)
            assert not torch.allclose(ours[1], expected[0], atol=2e-6)


@pytest.mark.parametrize("family", UNGUIDED)
def test_latents_of_an_image_are_what_the_pipeline_decodes_to_it(family, monkeypatch):
    pipe = untouched(family)
    images = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ours = find_family(pipe).latents(images).detach()
    decoded = []
    decode = pipe.vae.decode

    def end(prediction, time, sample, *rest, **options):
        return (_as_in(pipe, ours, sample),)

    def spy(latents, *rest, **options):
        decoded.append(latents)
        return decode(latents, *rest, **options)

    monkeypatch.setattr(pipe.scheduler, "step", end)
    monkeypatch.setattr(pipe.vae, "decode", spy)
    pipe(prompt=CAPTIONS[0], width=SIZE, height=SIZE, num_inference_steps=1, **UNGUIDED[family])
    encoded = pipe.vae.encode(images.unsqueeze(2) if decoded[0].ndim == 5 else images)
    own = encoded.latent if hasattr(encoded, "latent") else encoded.latent_dist.mean
    assert torch.allclose(decoded[0], own, atol=1e-5)


def _as_in(pipe, latents, sample):
    if sample.ndim == 3 and hasattr(pipe, "_unpack_latents_with_ids"):
        return pipe._pack_latents(latents)
    if sample.ndim == 3:
        return pipe._pack_latents(latents, *latents.shape)
    return latents.unsqueeze(2) if sample.ndim == 5 else latents


@pytest.mark.parametrize("family", UNGUIDED)
def test_gradient_checkpointing_changes_nothing(family):
    pipe = untouched(family)
    found = find_family(pipe)
    if not found.denoiser._supports_gradient_checkpointing:
        pytest.skip("has none in diffusers")
    with torch.no_grad():
        text = join(split(found.encode(CAPTIONS[:2])))
        shape = found.latents(torch.zeros(1, 3, SIZE, SIZE)).shape
    noisy = torch.randn(2, *shape[1:], generator=torch.Generator().manual_seed(0))
    time = torch.tensor([300.0, 700.0])

    def gradient():
        given = noisy.clone().requires_grad_()
        output = found.predict(given, time, text)
        return torch.autograd.grad(output.square().sum(), given)[0]

    plain = gradient()
    _checkpoint_gradients(found)
    try:
        assert torch.allclose(gradient(), plain, atol=1e-5)
    finally:
        found.denoiser.disable_gradient_checkpointing()


def of_dpm(**options):
    from diffusers import DPMSolverMultistepScheduler

    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    return DPMSolverMultistepScheduler(**flow, **options)


def of_euler(**options):
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


@pytest.mark.parametrize(
    ("family", "scheduler"),
    [
        *((family, None) for family in FLOWS),
        ("sana", of_dpm()),
        ("wan", of_dpm()),
        ("lumina2", of_euler(use_dynamic_shifting=True)),
        ("krea2", of_euler(use_dynamic_shifting=True, base_shift=0.2, max_image_seq_len=6400)),
        ("cogview4", of_euler(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75)),
    ],
)
def test_noise_levels_are_shifted_as_the_pipeline_shifts_its_steps(family, scheduler, monkeypatch):
    pipe = untouched(family)
    monkeypatch.setattr(pipe, "scheduler", scheduler or pipe.scheduler)
    found = find_family(pipe)
    if family.startswith("flux2"):  # whose shift depends on the number of steps
        monkeypatch.setattr(found, "call_default", lambda _: 3)
    shapes = {noisy.shape[-2:] for noisy, _, _ in steps_of(pipe, family)}
    shift = found.shift(*shapes.pop())
    assert shift != 1
    spaces = unshifted(pipe.scheduler.sigmas[:-1], shift).diff()
    assert torch.allclose(spaces, spaces.mean(), atol=2e-3)


def test_krea_2_turbo_has_a_shift_of_its_own():
    pipe = loaded("krea2")
    pipe.register_to_config(is_distilled=True)
    steps_of(pipe, "krea2")
    shift = find_family(pipe).shift(SIZE // 4, SIZE // 4)
    assert float(unshifted(pipe.scheduler.sigmas, shift)[1]) == pytest.approx(2 / 3, abs=1e-3)


def test_pixart_alpha_of_1024_pixels_is_told_the_size_of_the_image():
    from diffusers import PixArtAlphaPipeline, PixArtTransformer2DModel

    parts = loaded("pixart").components
    wider = {"attention_head_dim": 12, "cross_attention_dim": 24}
    large = {"sample_size": 128, "use_additional_conditions": True}
    config = {**parts["transformer"].config, **wider, **large}
    pipe = PixArtAlphaPipeline(**{**parts, "transformer": PixArtTransformer2DModel(**config)})
    found = find_family(pipe)
    ((noisy, time, expected), *_) = steps_of(pipe, "pixart", height=SIZE // 2)
    with torch.no_grad():
        text = found.encode([CAPTIONS[0]])
        assert torch.allclose(found.predict(noisy, time[None], text), expected, atol=2e-6)
        other = found.predict(noisy.transpose(2, 3), time[None], text)
    assert not torch.allclose(other.transpose(2, 3), expected, atol=1e-3)


def test_wan_2_2_5b_is_told_the_time_of_every_token():
    pipe = loaded("wan")
    pipe.register_to_config(expand_timesteps=True)
    found = find_family(pipe)
    ((noisy, time, expected), *_) = steps_of(pipe, "wan")
    with torch.no_grad():
        ours = found.predict(noisy, time[None], found.encode([CAPTIONS[0]]))
    assert torch.allclose(ours, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("family", "part", "setting", "message"),
    [
        ("hunyuan_image", "transformer", {"use_meanflow": True}, "the distilled HunyuanImage"),
        ("wan", None, {"boundary_ratio": 0.875}, "a Wan of two experts cannot be fine-tuned"),
    ],
)
def test_checkpoints_of_a_family_that_cannot_be_trained(family, part, setting, message):
    pipe = loaded(family)
    (getattr(pipe, part) if part else pipe).register_to_config(**setting)
    with pytest.raises(ModelLoadError, match=message):
        find_family(pipe)


# -- training -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def two_pictures(tmp_path_factory):
    """Two pictures, each of them twice, since four are the least to train on."""
    folder = tmp_path_factory.mktemp("pictures")
    lines = []
    for k in range(4):
        pixels = np.full((SIZE, SIZE, 3), 255 * (k % 2), np.uint8)
        pixels[: SIZE // 2] = (200, 30, 90)
        Image.fromarray(pixels).save(folder / f"{k}.png")
        lines.append({"file_name": f"{k}.png", "text": CAPTIONS[k % 2]})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module", params=TRAINED)
def learned(request, two_pictures, tmp_path_factory):
    """Family, folder, options and pipeline of a training, and its loss before and after."""
    folder = tmp_path_factory.mktemp(request.param)
    options = settings(
        request.param,
        steps=10,
        checkpoint_every=8,
        learning_rate=2e-2,
        rank=8,
        targets=("attention", "mlp"),
        resolution=SIZE,
        caption_dropout=0.0,
        max_grad_norm=10.0,
    )
    losses, loops = [], []
    run = Loop.run

    def measured(loop):
        losses.append(_loss(loop))
        result = run(loop)
        losses.append(_loss(loop))
        loops.append(loop)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "run", measured)
        finetune(two_pictures, folder, options)
    return request.param, folder, options, loops[0].family, losses


def _loss(loop):
    noised = loop.objective(loop.latents.repeat(8, 1, 1, 1), torch.Generator().manual_seed(3))
    numbers = torch.tensor([choices[0] for choices in loop.captions.choices] * 8)
    with torch.no_grad():
        text = loop.captions.rows(loop.family, numbers, torch.device("cpu"))
        output = loop.family.predict(noised.latents, noised.time, text)
    return float((output - noised.target).square().mean())


def test_the_loss_falls(learned):
    before, after = learned[-1]
    assert after < 0.95 * before


def test_plain_diffusers_and_generate_load_what_was_trained(learned):
    """Weights are equal bit by bit; products round by where in memory their factors lie."""
    family, folder, _, trained, _ = learned
    plain, ours, base = map(find_family, (loaded(family), loaded(family), untouched(family)))
    load_plainly(plain.pipe, folder)
    attach_loras(ours.pipe, [(resolve_lora(str(folder), offline=True), 1.0)])
    assert same(_lora(trained), _lora(plain))
    assert same(_lora(trained), _lora(ours))
    with torch.no_grad():
        text = base.encode(CAPTIONS)  # the trained one gave its encoders back
        first = base.latents(torch.zeros(len(CAPTIONS), 3, SIZE, SIZE))
        time = torch.full((len(CAPTIONS),), 500.0)
        expected, *others = (
            found.predict(first, time, text) for found in (trained, plain, ours, base)
        )
    close = [torch.allclose(other, expected, atol=2e-6) for other in others]
    assert close == [True, True, False]


def _lora(found):
    """LoRA weights by layer, whatever the adapter is called."""
    return {
        re.sub(r"^base_model\.model\.|\.(default|default_0|lora0)(?=\.)", "", name): value
        for name, value in found.denoiser.state_dict().items()
        if ".lora_" in name
    }


def load_plainly(pipe, folder):
    """As docs/finetuning.md says."""
    if hasattr(pipe, "load_lora_weights"):
        pipe.load_lora_weights(str(folder))
    elif hasattr(pipe.transformer, "load_lora_adapter"):
        pipe.transformer.load_lora_adapter(str(folder), weight_name=LORA)
    else:
        from peft import PeftModel

        pipe.transformer = PeftModel.from_pretrained(pipe.transformer, str(folder))


def test_resumed_it_ends_with_the_same_bits(learned, two_pictures, tmp_path):
    _, folder, options, _, _ = learned
    again = shutil.copytree(folder, tmp_path / "again")
    (again / LORA).unlink()
    max((again / "checkpoints").iterdir()).unlink()
    finetune(two_pictures, again, options, resume=True)
    assert content(again) == content(folder)


@pytest.mark.parametrize("family", TRAINED)
def test_sixteen_bits_and_recomputed_activations_change_rounding_only(
    family, two_pictures, tmp_path
):
    options = {"steps": 1, "targets": ("attention", "mlp"), "resolution": SIZE}
    plain = finetune(two_pictures, tmp_path / "plain", settings(family, **options))
    saving = {"base_bits": 16, "dtype": "bfloat16", "gradient_checkpointing": True}
    spared = finetune(two_pictures, tmp_path / "spared", settings(family, **options, **saving))
    assert spared["loss"] == pytest.approx(plain["loss"], rel=0.02)
