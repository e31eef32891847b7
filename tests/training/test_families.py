from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.generation.generator import load_generator, load_pipeline
from t2i_spatial.generation.resolve import resolve_model
from t2i_spatial.training.families import FAMILIES, find_family
from tests.tiny_models import SIZE, tiny_model
from tests.training.lora_runs import make_lora


def pipeline(family):
    return load_pipeline(resolve_model(str(tiny_model(family))), None, "fp32")


@pytest.mark.parametrize("zeros", [True, False])
def test_the_empty_caption_of_sdxl_is_what_guidance_sets_captions_against(zeros):
    pipe = pipeline("sdxl")
    pipe.register_to_config(force_zeros_for_empty_prompt=zeros)
    with torch.no_grad():
        ours = find_family(pipe).encode(["a cat", ""])
        text, empty, pooled, empty_pooled = pipe.encode_prompt("a cat")
    assert torch.allclose(ours["text"], torch.cat([text, empty]), atol=1e-5)
    assert torch.allclose(ours["pooled"], torch.cat([pooled, empty_pooled]), atol=1e-5)
    assert bool(ours["text"][1].any()) != zeros


def test_latents_may_be_shifted_and_scaled_by_channel():
    pipe = pipeline("sdxl")
    images = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    plain = find_family(pipe).latents(images)
    mean, std = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    pipe.vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    shifted = find_family(pipe).latents(images)
    # decoding, as StableDiffusionXLPipeline does
    again = shifted * std.view(1, 4, 1, 1) / pipe.vae.config.scaling_factor + mean.view(1, 4, 1, 1)
    assert torch.allclose(again, plain / pipe.vae.config.scaling_factor, atol=1e-5)


def test_the_gradient_passes_the_experts_of_hidream():
    from diffusers.models.transformers.transformer_hidream_image import MOEFeedForwardSwiGLU

    pipe = pipeline("hidream")
    blocks = [m for m in pipe.transformer.modules() if isinstance(m, MOEFeedForwardSwiGLU)]
    states = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    theirs = blocks[0](states).detach()
    blocks[0]._force_inference_output = False
    learning = blocks[0].train()(states)  # the other form, which diffusers differentiates
    (wanted,) = torch.autograd.grad(learning.square().sum(), states)
    ours = find_family(pipe)
    with torch.no_grad():
        ours.predict(torch.zeros(1, 4, 8, 8), torch.tensor([500.0]), ours.encode(["a cat"]))
    ours = blocks[0].eval()(states)
    assert torch.equal(ours, theirs)
    (gradient,) = torch.autograd.grad(ours.square().sum(), states)
    assert torch.allclose(gradient, wanted, atol=1e-6)


def test_a_model_of_pixels_is_not_supported():
    pipe = pipeline("sd1")
    pipe.vae = None
    with pytest.raises(ModelLoadError, match="StableDiffusionPipeline cannot be fine-tuned; known"):
        find_family(pipe)


def test_a_family_of_another_package_is_found_and_must_not_claim_what_is_ours(monkeypatch):
    from t2i_spatial.training.families.flux import Flux

    len(list(FAMILIES))  # ours are all there
    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    mine = type("Mine", (Flux,), {"title": "Mine", "denoisers": ("MyTransformer",)})
    FAMILIES.register("mine")(mine)
    pipe = SimpleNamespace(transformer=type("MyTransformer", (), {})(), vae=object())
    assert type(find_family(pipe)) is mine
    other = type("Other", (Flux,), {"title": "Other"})
    FAMILIES.register("other")(other)
    with pytest.raises(ModelLoadError, match="claimed by the model families 'flux' and 'other'"):
        find_family(pipeline("flux"))


def test_vaes_without_a_posterior_are_not_supported():
    from diffusers import AutoencoderTiny

    pipe = pipeline("sd1")
    pipe.vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    with pytest.raises(ModelLoadError, match="models with AutoencoderTiny cannot be fine-tuned"):
        find_family(pipe).latents(torch.zeros(1, 3, 32, 32))


def test_weights_trained_for_noise_are_refused_by_a_model_of_edm(tmp_path):
    from diffusers import EDMEulerScheduler

    lora = make_lora("sdxl", tmp_path / "lora")
    (lora / "t2i_spatial_lora.json").write_text('{"prediction": "epsilon", "model": "sdxl"}')
    other = tmp_path / "model"
    shutil.copytree(tiny_model("sdxl"), other)
    index = json.loads((other / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "EDMEulerScheduler"]
    (other / "model_index.json").write_text(json.dumps(index))
    EDMEulerScheduler().save_pretrained(other / "scheduler")
    with pytest.raises(ModelLoadError, match="predicts 'epsilon'; this model predicts 'edm'"):
        load_generator(str(other), device="cpu", lora=str(lora))
