from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.generation import load_generator
from t2i_spatial.generation.generator import Sampling
from t2i_spatial.generation.tenor import add_token_order, token_order
from tests.tiny_models import SIZE, tiny_model


def unet():
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(tiny_model("sd1"), subfolder="unet")


def flux():
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel.from_pretrained(tiny_model("flux"), subfolder="transformer")


def seen_by(model, names, call):
    """What each named layer receives, after hooks that were there before."""
    seen = {}
    for name, module in model.named_modules():
        if name in names:
            module.register_forward_pre_hook(
                lambda _, arguments, name=name: seen.__setitem__(name, arguments[0].clone())
            )
    with torch.no_grad():
        call(model)
    return seen


def test_the_encoding_is_the_classic_sinusoid():
    order = token_order(77, 32)
    assert order.shape == (77, 32)
    position, pair = 5, 3
    angle = torch.tensor(position / 10000 ** (2 * pair / 32))
    assert torch.allclose(order[position, 2 * pair], angle.sin())
    assert torch.allclose(order[position, 2 * pair + 1], angle.cos())
    assert token_order(3, 5).shape == (3, 5)


def test_keys_of_cross_attention_have_it_and_nothing_else():
    model = unet()
    assert len(add_token_order(model)) == 4  # down, mid and twice up
    block = "mid_block.attentions.0.transformer_blocks.0"
    names = {f"{block}.attn{k}.to_{part}" for k in (1, 2) for part in "qkv"}
    text = torch.randn(1, 7, 32)
    seen = seen_by(model, names, lambda m: m(torch.randn(1, 4, 16, 16), 5, text))
    assert torch.allclose(seen[f"{block}.attn2.to_k"], text + token_order(7, 32))
    assert torch.equal(seen[f"{block}.attn2.to_v"], text)
    assert torch.equal(seen[f"{block}.attn1.to_k"], seen[f"{block}.attn1.to_v"])


def test_double_blocks_of_flux_have_it_on_the_text_stream():
    model = flux()
    assert len(add_token_order(model)) == 2

    def call(m):
        m(
            hidden_states=torch.randn(1, 4, 16),
            encoder_hidden_states=torch.randn(1, 6, 32),
            pooled_projections=torch.randn(1, 32),
            timestep=torch.tensor([0.5]),
            guidance=torch.tensor([1.0]),
            img_ids=torch.zeros(4, 3),
            txt_ids=torch.zeros(6, 3),
        )

    block = "transformer_blocks.0.attn"
    seen = seen_by(model, {f"{block}.add_{part}_proj" for part in "qkv"}, call)
    plain = seen[f"{block}.add_v_proj"]
    for part in "qk":
        expected = plain + token_order(6, plain.shape[-1])
        assert torch.allclose(seen[f"{block}.add_{part}_proj"], expected, atol=1e-6)


def test_the_image_stream_of_dual_attention_does_not_have_it():
    from diffusers import SD3Transformer2DModel

    folder = tiny_model("sd3") / "transformer"
    config = SD3Transformer2DModel.load_config(folder)
    model = SD3Transformer2DModel.from_config(config, dual_attention_layers=(0,))
    assert len(add_token_order(model)) == 4  # queries and keys of two blocks

    def call(m):
        m(
            hidden_states=torch.randn(1, 8, 16, 16),
            encoder_hidden_states=torch.randn(1, 6, 64),
            pooled_projections=torch.randn(1, 64),
            timestep=torch.tensor([500]),
        )

    block = "transformer_blocks.0"
    names = {f"{block}.attn2.to_k", f"{block}.attn2.to_v"}
    names |= {f"{block}.attn.add_{part}_proj" for part in "qkv"}
    seen = seen_by(model, names, call)
    assert torch.equal(seen[f"{block}.attn2.to_k"], seen[f"{block}.attn2.to_v"])
    expected = seen[f"{block}.attn.add_v_proj"] + token_order(6, 32)
    for part in "qk":
        assert torch.allclose(seen[f"{block}.attn.add_{part}_proj"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "layers"),  # the keys of one block; queries and keys of one block
    [("sana", 1), ("pixart", 1), ("wan", 1), ("aura_flow", 2), ("hunyuan_image", 2)],
)
def test_transformers_that_read_the_text_apart_from_the_image_have_it(family, layers):
    loaded = load_generator(str(tiny_model(family)), device="cpu")
    sampling = Sampling(2, 3.0, None, SIZE, SIZE)

    def image():
        return np.asarray(loaded(["a cat left of a dog"], [1], sampling)[0].image)

    plain = image()
    handles = add_token_order(loaded.pipe.transformer)
    assert len(handles) == layers
    assert not np.array_equal(image(), plain)
    for handle in handles:
        handle.remove()
    assert np.array_equal(image(), plain)


def test_double_blocks_of_hidream_have_it():
    from diffusers import HiDreamImageTransformer2DModel as Transformer

    model = Transformer.from_pretrained(tiny_model("hidream"), subfolder="transformer")
    assert len(add_token_order(model)) == 2 * model.config.num_layers


def test_it_can_be_switched_off():
    model = unet()
    inputs = (torch.randn(1, 4, 16, 16), 5, torch.randn(1, 7, 32))
    with torch.no_grad():
        before = model(*inputs).sample
        handles = add_token_order(model)
        assert not torch.allclose(model(*inputs).sample, before)
        for handle in handles:
            handle.remove()
        assert torch.equal(model(*inputs).sample, before)


def test_a_model_without_text_attention():
    with pytest.raises(ModelLoadError, match="TENOR needs"):
        add_token_order(nn.Linear(2, 2))
