"""LoRA files under the names of every trainer: they act as the same LoRA in plain diffusers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.generation import load_generator
from t2i_spatial.generation.generator import Sampling
from t2i_spatial.generation.loading import load_pipeline
from t2i_spatial.generation.lora import attach_loras
from t2i_spatial.generation.lora_file import read_lora
from t2i_spatial.generation.resolve import resolve_lora, resolve_model
from tests.tiny_models import RECENT, SIZE, tiny_model

TARGETS = ["to_q", "to_k", "to_v"]


def pipeline(family):
    return load_pipeline(resolve_model(str(tiny_model(family))), None, "fp32")


def denoiser(pipe):
    return getattr(pipe, "unet", None) or pipe.transformer


def part_of(pipe):
    return "unet" if hasattr(pipe, "unet") else "transformer"


def tuned(family, **options):
    """A pipeline with a random LoRA of PEFT, and the weights of that."""
    pipe = pipeline(family)
    values = {"r": 2, "lora_alpha": 4, "target_modules": TARGETS, "init_lora_weights": False}
    torch.manual_seed(5)
    from peft import inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(**{**values, **options}), denoiser(pipe))
    return pipe, get_peft_model_state_dict(denoiser(pipe))


def updates(module):
    """What the active adapters add to each layer."""
    return {
        name.removesuffix(".base_layer"): sum(
            layer.get_delta_weight(adapter) for adapter in layer.active_adapters
        )
        for name, layer in module.named_modules()
        if hasattr(layer, "get_delta_weight")
    }


def loaded(family, path, *more):
    pipe = pipeline(family)
    names = [(path, 1.0), *more]
    attach_loras(pipe, [(resolve_lora(str(name)), scale) for name, scale in names])
    return pipe


def same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.allclose(value, second[name], atol=1e-6), name


def renamed(weights, scheme, part):
    """The same LoRA (alpha 4, rank 2) as another trainer writes it."""
    if scheme == "peft":
        return {f"base_model.model.{name}": value for name, value in weights.items()}
    if scheme == "diffusion_model":
        out = {f"diffusion_model.{name}": value for name, value in weights.items()}
    elif scheme == "diffusers":
        out = {f"{part}.{name}": value for name, value in weights.items()}
    else:
        out = {}
        for name, value in weights.items():
            layer, half, _ = name.rsplit(".", 2)
            kohya = {"lora_A": "lora_down", "lora_B": "lora_up"}[half]
            out[f"lora_unet_{layer.replace('.', '_')}.{kohya}.weight"] = value
    for name in [name for name in out if name.endswith((".lora_A.weight", ".lora_down.weight"))]:
        out[f"{name.rsplit('.', 2)[0]}.alpha"] = torch.tensor(4.0)
    return out


@pytest.mark.parametrize("scheme", ["peft", "diffusers", "kohya", "diffusion_model"])
@pytest.mark.parametrize("family", ["sd1", "sd3", "qwen_image", "pixart"])
def test_one_lora_under_every_name(family, scheme, tmp_path):
    pipe, weights = tuned(family)
    save_file(renamed(weights, scheme, part_of(pipe)), tmp_path / "adapter_model.safetensors")
    if scheme == "peft":
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    same(updates(denoiser(pipe)), updates(denoiser(loaded(family, tmp_path))))


ORIGINAL = {
    # family: names of the model's own code -> (inputs, outputs)
    "flux": {
        "lora_unet_double_blocks_0_img_attn_qkv": (32, 96),
        "lora_unet_double_blocks_0_txt_attn_proj": (32, 32),
        "lora_unet_single_blocks_0_linear2": (160, 32),
    },
    "sdxl": {
        "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q": (32, 32),
        "lora_unet_output_blocks_0_1_proj_in": (32, 32),
    },
    "wan": {"diffusion_model.blocks.0.self_attn.q": (24, 24)},
    "z_image": {"lora_unet_layers_0_attention_qkv": (32, 96)},
    "qwen_image": {"lora_unet_transformer_blocks_0_attn_add_k_proj": (32, 32)},
}


@pytest.mark.parametrize("family", ORIGINAL)
def test_names_of_the_original_code_act_as_in_diffusers(family, tmp_path):
    torch.manual_seed(3)
    weights = {}
    for name, (inputs, outputs) in ORIGINAL[family].items():
        flat = name.startswith("lora_unet_")
        down, up = ("lora_down", "lora_up") if flat else ("lora_A", "lora_B")
        weights[f"{name}.{down}.weight"] = torch.randn(2, inputs)
        weights[f"{name}.{up}.weight"] = torch.randn(outputs, 2)
        if flat:
            weights[f"{name}.alpha"] = torch.tensor(1.0)
    save_file(weights, tmp_path / "a.safetensors")
    plain = pipeline(family)
    plain.load_lora_weights(str(tmp_path), weight_name="a.safetensors")
    expected = updates(denoiser(plain))
    assert expected
    same(expected, updates(denoiser(loaded(family, tmp_path))))


@pytest.mark.parametrize("family", RECENT)
def test_every_family_takes_a_lora(family, tmp_path):
    targets = ["to_q", "to_v", "q_proj", "qkv", "attention.to_q", "to_qkv_mlp_proj"]
    pipe, weights = tuned(family, target_modules=targets)
    save_file(renamed(weights, "diffusers", "transformer"), tmp_path / "a.safetensors")
    same(updates(denoiser(pipe)), updates(denoiser(loaded(family, tmp_path))))


def test_settings_of_peft_are_obeyed(tmp_path):
    options = {
        "r": 4,
        "lora_alpha": 6,
        "rank_pattern": {"to_k": 2},
        "alpha_pattern": {"to_v": 3},
        "use_rslora": True,
        "use_dora": True,
    }
    pipe, weights = tuned("sd3", **options)
    save_file(renamed(weights, "peft", "transformer"), tmp_path / "adapter_model.safetensors")
    config = {**options, "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    other = loaded("sd3", tmp_path)
    same(updates(denoiser(pipe)), updates(denoiser(other)))
    sizes = {"encoder_hidden_states": (1, 3, 64), "pooled_projections": (1, 64)}
    torch.manual_seed(0)
    inputs = {name: torch.randn(size) for name, size in sizes.items()}
    inputs |= {"hidden_states": torch.randn(1, 8, 16, 16), "timestep": torch.tensor([500.0])}
    with torch.no_grad():
        first, second = (denoiser(each)(**inputs).sample for each in (pipe, other))
        plain = denoiser(pipeline("sd3"))(**inputs).sample
    assert torch.allclose(first, second, atol=1e-5)
    assert not torch.allclose(first, plain, atol=1e-2)


def test_several_loras_add_up_at_their_strengths(tmp_path):
    sums = {}
    for name, targets, scale in (("a", ["to_q", "to_k"], 1.0), ("b", ["to_k", "to_v"], 0.5)):
        pipe, weights = tuned("sd1", target_modules=targets)
        save_file(renamed(weights, "kohya", "unet"), tmp_path / f"{name}.safetensors")
        for key, value in updates(denoiser(pipe)).items():
            sums[key] = sums.get(key, 0) + scale * value
    both = loaded("sd1", tmp_path / "a.safetensors", (tmp_path / "b.safetensors", 0.5))
    summed = {
        name: sum(
            layer.get_delta_weight(adapter)
            for adapter in layer.active_adapters
            if adapter in layer.lora_A
        )
        for name, layer in denoiser(both).named_modules()
        if hasattr(layer, "get_delta_weight")
    }
    same(sums, summed)
    one = [str(tmp_path / "a.safetensors"), f"{tmp_path / 'b.safetensors'}:0.5"]
    small = Sampling(1, None, None, SIZE, SIZE)
    images = [
        np.asarray(
            load_generator(str(tiny_model("sd1")), device="cpu", lora=lora)(["a"], [1], small)[
                0
            ].image
        )
        for lora in (one, one[:1], one[1:])
    ]
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    with pytest.raises(ModelLoadError, match="named twice"):
        load_generator(str(tiny_model("sd1")), device="cpu", lora=[one[0], f"{one[0]}:0.2"])


def test_text_encoders_of_kohya_find_their_place(tmp_path):
    pipe = pipeline("sd1")
    layer = next(
        name
        for name, _ in pipe.text_encoder.named_modules()
        if name.endswith("layers.0.self_attn.q_proj")
    )
    flat = "text_model_" + layer.removeprefix("text_model.").replace(".", "_")
    weights = {
        f"lora_te_{flat}.lora_down.weight": torch.randn(2, 32),
        f"lora_te_{flat}.lora_up.weight": torch.randn(32, 2),
        f"lora_te_{flat}.alpha": torch.tensor(1.0),
    }
    save_file(weights, tmp_path / "a.safetensors")
    file = read_lora(pipe, resolve_lora(str(tmp_path)))
    assert list(file.parts) == ["text_encoder"]
    assert file.parts["text_encoder"][layer].alpha == 1.0
    assert str(file) == "kohya, ComfyUI or musubi names; rank 2, 1 layers of the text_encoder"


def refusal(family, weights, tmp_path):
    save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(ModelLoadError) as caught:
        read_lora(pipeline(family), resolve_lora(str(tmp_path)))
    return str(caught.value)


def test_what_does_not_fit_is_said_by_share_of_tensors_and_norm(tmp_path):
    _, weights = tuned("qwen_image")
    layer = next(name for name in weights if name.endswith("to_q.lora_A.weight"))
    layer = layer.removesuffix("lora_A.weight")
    moved = {
        name.replace("transformer_blocks.0", "transformer_blocks.7"): value.clone()
        for name, value in weights.items()
        if name.startswith(layer)
    }
    told = refusal("qwen_image", renamed(weights | moved, "diffusers", "transformer"), tmp_path)
    assert "(diffusers names)" in told
    assert f"{len(weights)} of {len(weights) + 2} tensors (" in told
    assert "% of its norm) found their place, none for transformer.transformer_blocks.7" in told


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lora_unet_x.lokr_w1", "holds LoKr, not LoRA"),
        ("lora_unet_x.hada_w1_a", "holds LoHa, not LoRA"),
        ("transformer.x.lora_A.weight", "1 tensors are missing in the file, such as that of"),
        ("transformer.x.bias", "has a tensor that is no part of a LoRA: transformer.x.bias"),
    ],
)
def test_what_is_no_lora_is_named(name, message, tmp_path):
    assert message in refusal("sd3", {name: torch.ones(2, 2)}, tmp_path)
