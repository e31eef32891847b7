from __future__ import annotations

import json
import shutil

import pytest
import torch

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.generation.loading import load_pipeline
from t2i_spatial.generation.parts import Parts
from t2i_spatial.generation.quantised import quantise
from t2i_spatial.generation.resolve import resolve_model
from tests.tiny_models import tiny_model


def parts(family, **options):
    return Parts(resolve_model(str(tiny_model(family))), None, "fp32", **options)


def tensors(module):
    return [*module.parameters(), *module.buffers()]


@pytest.mark.parametrize("family", ["sd1", "sd3", "krea2"])
def test_models_come_one_at_a_time_as_the_pipeline_has_them(family):
    found = parts(family)
    whole = load_pipeline(found.source, None, "fp32")
    models = {n for n, c in whole.components.items() if isinstance(c, torch.nn.Module)}
    assert set(found.names) == models
    assert {"vae"} < models - set(found.text_encoders)
    for name in found.names:
        assert all(p.is_meta for p in getattr(found.pipe, name).parameters())
    for name in found.names:
        found.load([name])
        ours, theirs = getattr(found.pipe, name), getattr(whole, name)
        assert all(map(torch.equal, tensors(ours), tensors(theirs)))
        assert ours.training == theirs.training
        found.load([name])
        assert getattr(found.pipe, name) is ours
        found.free([name])
        assert all(p.is_meta for p in getattr(found.pipe, name).parameters())


def test_what_is_hollow_knows_its_configuration():
    pipe = parts("sd1").pipe
    assert pipe.unet.config.sample_size == 16
    assert pipe.unet.dtype == torch.float32
    assert pipe.vae_scale_factor == 2


def test_configurations_that_cannot_be_read_are_one_line(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(tiny_model("sd1"), model)
    config = json.loads((model / "unet/config.json").read_text())
    config["down_block_types"] = ["NoSuchBlock"] * len(config["down_block_types"])
    (model / "unet/config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=r"cannot be loaded: unet: .*NoSuchBlock"):
        Parts(resolve_model(str(model)), None, "fp32")


# -- 8 and 4 bits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 4])
def test_packed_layers_compute_nearly_the_same_and_pass_gradients_on(bits):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(128, 96), torch.nn.Linear(96, 64, bias=False))
    inputs = torch.randn(5, 128)
    expected = plain(inputs)
    bytes_before = sum(p.nbytes for p in plain.parameters())
    packed = quantise(plain, bits, "cpu")
    assert not any(p.requires_grad for p in packed.parameters())
    assert sum(p.nbytes for p in packed.parameters()) < bytes_before * 1.1 * bits / 32
    inputs.requires_grad_(True)
    output = packed(inputs)
    output.sum().backward()
    error = (output - expected).norm() / expected.norm()
    assert 0 < error < (0.02 if bits == 8 else 0.2)
    assert inputs.grad.abs().sum() > 0


def test_what_a_class_keeps_in_float32_is_not_packed():
    class Model(torch.nn.Module):
        _keep_in_fp32_modules = ("wo",)

        def __init__(self):
            super().__init__()
            self.wi, self.wo, self.lm_head = (torch.nn.Linear(64, 64) for _ in range(3))
            self.attention = torch.nn.MultiheadAttention(64, 2)

    packed = quantise(Model(), 4, "cpu")
    assert packed.wi.weight.dtype == torch.uint8
    for layer in (packed.wo, packed.lm_head, packed.attention.out_proj):
        assert layer.weight.dtype == torch.float32


def test_the_vae_is_never_packed():
    found = parts("sd1", bits=4)
    found.load(found.names)
    kinds = {
        name: {p.dtype for p in getattr(found.pipe, name).parameters()} for name in found.names
    }
    assert kinds["vae"] == {torch.float32}
    assert kinds["unet"] == kinds["text_encoder"] == {torch.float32, torch.uint8}


def test_devices_that_cannot_hold_packed_weights_are_one_line(monkeypatch):
    import bitsandbytes as bnb

    def refuse(*_):
        raise NotImplementedError("no such operator\nmore")

    monkeypatch.setattr(bnb.nn.Params4bit, "to", refuse)
    with pytest.raises(ModelLoadError, match=r"no weights of 4 bits on cpu: no such operator$"):
        quantise(torch.nn.Sequential(torch.nn.Linear(8, 8)), 4, "cpu")
