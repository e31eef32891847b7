from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.generation.parts import Parts, hollow_models
from t2i_spatial.generation.resolve import resolve_model
from t2i_spatial.training.families import find_family
from t2i_spatial.training.lora_layers import Adapters
from t2i_spatial.training.memory import (
    Estimate,
    Shape,
    activation_bytes,
    lora_parameters,
    weight_bytes,
)
from t2i_spatial.training.trainer import estimate_memory
from tests.tiny_models import tiny_model
from tests.training.lora_runs import settings


def source(family):
    return resolve_model(str(tiny_model(family)))


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_weights_are_counted_as_they_lie_in_memory(bits):
    parts = Parts(source("sd3"), None, "fp32", bits=bits)
    expected = weight_bytes(parts.pipe.transformer, 4, bits)
    parts.load(["transformer"])
    real = sum(p.nbytes for p in parts.pipe.transformer.parameters())
    assert real <= expected < 1.1 * real  # scales are no parameters
    assert (bits is None) == (real == expected)


@pytest.mark.parametrize("family", ["sd1", "flux", "pixart"])
def test_trained_weights_are_counted_exactly(family):
    options = settings(family, rank=4)
    parts = Parts(source(family), None, "fp32")
    found = find_family(parts.pipe)
    counted = lora_parameters(found.denoiser, found.targets(options.targets), 4)
    parts.load([found.part])
    adapters = Adapters(found, options)
    assert counted == sum(p.numel() for p in adapters.parameters.values())


def test_activations_grow_with_the_work_and_shrink_with_checkpointing():
    unet = hollow_models(source("sd1"))["unet"]

    def needed(batch=1, side=16, checkpointing=False):
        shape = Shape(batch, 2 * side, side, 77)
        return activation_bytes(unet, shape, 4, checkpointing=checkpointing)

    assert needed(batch=3) == pytest.approx(3 * needed())
    assert 3 * needed() < needed(side=32) < 4 * needed()  # the text does not grow
    assert needed(checkpointing=True) < needed()


def test_the_formula_is_near_what_autograd_keeps():
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            block_out_channels=(64, 128),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=64,
        ).requires_grad_(False)
        expected = activation_bytes(unet, Shape(1, 256, 32, 77), 4, checkpointing=False)
        unet.add_adapter(LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
        inputs = torch.randn(1, 4, 32, 32), 5, torch.randn(1, 77, 64)
    weights = {p.untyped_storage().data_ptr() for p in unet.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        unet(*inputs).sample.sum()
    assert 0.5 < sum(size for size, _ in kept.values()) / expected < 1.5


def test_the_largest_stage_decides():
    found = Estimate(
        {"unet": 10**9}, {"images": 5e9, "captions": 2e9}, 3e9, 1e9, 5e8, "cuda:0", 4e9
    )
    assert found.training == 4.5e9
    assert found.peak == found.to_dict()["peak"] == 5e9
    lines = str(found).splitlines()
    assert lines[0] == "parameters           unet 1.00 B"
    assert lines[-2] == "peak                 5.0 GB; cuda:0 has 4.0 GB free"
    assert "--base-bits 8 or 4" in lines[-1]


def test_settings_change_the_estimate():
    plain = estimate_memory(settings("sd3"))
    assert plain.free > 0
    assert estimate_memory(settings("sd3", base_bits=4)).weights < plain.weights
    assert estimate_memory(settings("sd3", rank=8)).lora == 2 * plain.lora
    everything = estimate_memory(settings("sd3", validate_every=1))
    assert everything.weights > plain.weights + plain.encoding["captions"]
    halves = estimate_memory(settings("sd3", dtype="bf16"))
    assert halves.weights == 1.5 * plain.weights  # float32, and the copies of autocast


def test_the_command_reads_no_data_and_no_weights(tmp_path):
    line = ["finetune", str(tmp_path / "nowhere"), "--model", str(tiny_model("sd1")), "--estimate"]
    result = CliRunner().invoke(main, [*line, "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["parameters"].keys() == {"text_encoder", "unet", "vae"}
    assert found["peak"] >= found["training"] > 0
