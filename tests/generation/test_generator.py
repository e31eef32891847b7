from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from t2i_spatial.errors import InputError, ModelLoadError
from t2i_spatial.generation import load_generator
from t2i_spatial.generation.generator import Sampling
from tests.tiny_models import FAMILIES, SIZE, tiny_model

TEXTS = ["a cat left of a dog", "a dog left of a cat", "a red bus"]
SMALL = Sampling(steps=2, width=SIZE, height=SIZE)


def pixels(results):
    return np.stack([np.asarray(result.image).astype(int) for result in results])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_makes_images_from_texts(family):
    generator = load_generator(str(tiny_model(family)), device="cpu")
    together = pixels(generator(TEXTS, [1, 1, 2], SMALL))
    assert together.shape == (3, SIZE, SIZE, 3)
    assert together.std() > 5
    assert np.array_equal(together, pixels(generator(TEXTS, [1, 1, 2], SMALL)))
    assert not np.array_equal(together[0], together[1])  # same seed: the text matters
    assert not np.array_equal(together[0], pixels(generator(TEXTS[:1], [9], SMALL))[0])
    alone = np.concatenate(
        [
            pixels(generator([text], [seed], SMALL))
            for text, seed in zip(TEXTS, [1, 1, 2], strict=True)
        ]
    )
    assert abs(alone - together).max() <= 1  # another batch size: float rounding only


def test_repeated_texts_are_encoded_once_and_give_the_same_images():
    generator = load_generator(str(tiny_model("sd1")), device="cpu")
    encoded = []
    encoder = generator.pipe.text_encoder
    handle = encoder.register_forward_pre_hook(
        lambda module, arguments: encoded.append(len(arguments[0])) if arguments else None
    )
    texts = [TEXTS[0]] * 2 + [TEXTS[1]] * 2
    repeated = pixels(generator(texts, [1, 2, 3, 4], SMALL))
    assert encoded[0] == 2
    handle.remove()
    shuffled = pixels(generator([texts[i] for i in (0, 2, 1, 3)], [1, 3, 2, 4], SMALL))
    assert abs(repeated - shuffled[[0, 2, 1, 3]]).max() <= 1


def test_the_image_is_that_of_plain_diffusers():
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(tiny_model("sd1"), use_safetensors=True)
    plain = pipe(
        TEXTS[0],
        num_inference_steps=4,
        guidance_scale=5.0,
        negative_prompt="blurry",
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    generator = load_generator(str(tiny_model("sd1")), device="cpu")
    ours = generator([TEXTS[0]], [3], Sampling(4, 5.0, "blurry"))[0]
    assert np.array_equal(np.asarray(plain), np.asarray(ours.image))


def test_defaults_are_those_of_the_pipeline():
    generator = load_generator(str(tiny_model("sdxl")), device="cpu")
    assert generator.resolved(Sampling()) == Sampling(50, 5.0, None, SIZE, SIZE)
    assert generator.resolved(Sampling(steps=3, guidance_scale=0.0)).guidance_scale == 0.0
    described = generator.describe()
    assert described["pipeline"] == "StableDiffusionXLPipeline"
    assert described["scheduler"] == "EulerDiscreteScheduler"
    assert described["scheduler_config"]["timestep_spacing"] == "leading"


def test_no_texts_give_no_images_and_counts_must_agree():
    generator = load_generator(str(tiny_model("sd1")), device="cpu")
    assert generator([], []) == []
    with pytest.raises(InputError, match="1 texts but 2 seeds"):
        generator(["a"], [1, 2])


def test_bf16_computes_in_bf16():
    generator = load_generator(str(tiny_model("sd1")), device="cpu", dtype="bf16")
    assert generator.pipe.unet.dtype == torch.bfloat16
    exact = pixels(load_generator(str(tiny_model("sd1")), device="cpu")(TEXTS[:1], [1], SMALL))
    rough = pixels(generator(TEXTS[:1], [1], SMALL))
    assert 0 < abs(exact - rough).mean() < 20


def test_pixels_that_are_not_numbers_are_no_image():
    generator = load_generator(str(tiny_model("sd1")), device="cpu")
    with torch.no_grad():
        next(generator.pipe.vae.decoder.conv_out.parameters()).fill_(float("nan"))
    (result,) = generator(TEXTS[:1], [1], SMALL)
    assert result.image is None
    assert "not numbers" in result.reason


@pytest.mark.parametrize(
    ("family", "sampling", "message"),
    [
        ("flux", Sampling(2, negative_prompt="blurry"), "no effect, as it is guidance-distilled"),
        ("sd1", Sampling(2, 1.0, "blurry"), "no effect, as guidance is off at a scale of 1"),
        ("flux", Sampling(1, width=33, height=33), "makes 32x32 where 33x33 is asked"),
        ("sd1", Sampling(2, width=33), "divisible"),
    ],
)
def test_options_that_the_pipeline_refuses(family, sampling, message):
    generator = load_generator(str(tiny_model(family)), device="cpu")
    with pytest.raises(InputError, match=message):
        generator(TEXTS[:1], [1], sampling)


def test_unknown_dtype_and_device():
    with pytest.raises(InputError, match="known: auto, bfloat16"):
        load_generator(str(tiny_model("sd1")), device="cpu", dtype="int3")
    with pytest.raises(InputError, match="'nonsense' cannot be used"):
        load_generator(str(tiny_model("sd1")), device="nonsense")


# -- LoRA ---------------------------------------------------------------------------------------


def make_lora(family, folder):
    from diffusers import AutoPipelineForText2Image
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = AutoPipelineForText2Image.from_pretrained(tiny_model(family), use_safetensors=True)
    part = "unet" if hasattr(pipe, "unet") else "transformer"
    denoiser = getattr(pipe, part)
    torch.manual_seed(5)
    denoiser.add_adapter(
        LoraConfig(
            r=2,
            lora_alpha=2,
            target_modules=["to_q", "to_k", "to_v", "to_out.0"],
            init_lora_weights=False,
        )
    )
    layers = {f"{part}_lora_layers": get_peft_model_state_dict(denoiser)}
    pipe.save_lora_weights(folder, **layers)
    return pipe, str(folder)


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux"])
def test_a_lora_acts_as_it_did_where_it_was_made(family, tmp_path):
    pipe, lora = make_lora(family, tmp_path)
    model = str(tiny_model(family))
    pipe.set_progress_bar_config(disable=True)
    expected = pipe(
        TEXTS[0],
        num_inference_steps=2,
        width=SIZE,
        height=SIZE,
        generator=torch.Generator().manual_seed(1),
    ).images[0]
    images = {
        scale: pixels(
            load_generator(model, device="cpu", lora=lora, lora_scale=scale)(TEXTS[:1], [1], SMALL)
        )[0]
        for scale in (0.0, 0.5, 1.0)
    }
    base = pixels(load_generator(model, device="cpu")(TEXTS[:1], [1], SMALL))[0]
    assert np.array_equal(images[1.0], np.asarray(expected))
    assert np.array_equal(images[0.0], base)
    for first, second in itertools.combinations(images.values(), 2):
        assert not np.array_equal(first, second)


def test_broken_lora_files_are_refused_for_what_they_are(tmp_path):
    _, lora = make_lora("sd1", tmp_path)
    model = str(tiny_model("sd1"))
    file = Path(lora) / "pytorch_lora_weights.safetensors"
    weights = load_file(file)
    name = next(iter(weights))

    def refused(match):
        with pytest.raises(ModelLoadError, match=match):
            load_generator(model, device="cpu", lora=lora)

    save_file({**weights, name: weights[name] * float("nan")}, file)
    refused("values that are not numbers")
    save_file({k: v for k, v in weights.items() if k != name}, file)
    refused("1 tensors are missing")
    file.write_bytes(file.read_bytes()[:-100])
    refused("cannot be read")
    with pytest.raises(ModelLoadError, match="no such file"):
        load_generator(model, device="cpu", lora="nowhere/lora.safetensors")


@pytest.mark.parametrize(
    ("family", "other"), [("sd1", "sd3"), ("sd1", "sdxl"), ("sd3", "flux"), ("flux", "sd1")]
)
def test_a_lora_of_another_architecture_is_refused(family, other, tmp_path):
    _, lora = make_lora(family, tmp_path)
    with pytest.raises(ModelLoadError, match="does not fit"):
        load_generator(str(tiny_model(other)), device="cpu", lora=lora)
