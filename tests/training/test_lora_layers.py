from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from t2i_spatial.generation import load_generator
from t2i_spatial.generation.generator import Sampling
from t2i_spatial.training import finetune
from tests.tiny_models import SIZE, tiny_model
from tests.training.lora_runs import LORA, make_lora, settings


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [{"file_name": f"{k}.png", "text": f"object {k}"} for k in range(4)]
    for line in lines:
        Image.new("RGB", (8, 8)).save(folder / line["file_name"])
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def image(family, lora):
    generator = load_generator(str(tiny_model(family)), device="cpu", lora=str(lora))
    sampling = Sampling(steps=2, width=SIZE, height=SIZE)
    return np.asarray(generator(["a cat"], [1], sampling)[0].image).astype(int)


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux"])
def test_training_goes_on_at_the_scale_the_file_states(family, data, tmp_path):
    first = make_lora(family, tmp_path / "first")
    still = settings(
        family, steps=1, alpha=2, lora=str(first), learning_rate=1e-30, weight_decay=0.0
    )
    finetune(data, tmp_path / "second", still)
    expected = image(family, first)
    assert abs(image(family, tmp_path / "second") - expected).max() <= 1
    weights = load_file(first / LORA)
    save_file(weights, first / LORA)  # without alpha the scale is 1
    assert abs(image(family, first) - expected).max() > 1


@pytest.mark.parametrize(
    "config", [{"alpha_pattern": {"to_q": 2}}, {"use_rslora": True}], ids=["alphas", "rslora"]
)
def test_scales_of_single_layers_are_continued(config, data, tmp_path):
    first = make_lora("sd1", tmp_path / "first", **config)
    still = settings("sd1", steps=1, lora=str(first), learning_rate=1e-30, weight_decay=0.0)
    finetune(data, tmp_path / "second", still)
    assert abs(image("sd1", tmp_path / "second") - image("sd1", first)).max() <= 1


def with_alphas(folder, suffix):
    weights = load_file(folder / LORA)
    for name in list(weights):
        if "lora_A" in name:
            weights[name.replace("lora_A.weight", suffix)] = torch.tensor(8.0)
    save_file(weights, folder / LORA)
    return folder


@pytest.mark.parametrize("family", ["sd1", "flux"])
@pytest.mark.parametrize("suffix", ["alpha", "lora.alpha"])
def test_alphas_beside_the_weights_are_read(family, suffix, tmp_path):
    """Also where diffusers would leave them out."""
    expected = image(family, make_lora(family, tmp_path / "same"))
    lora = with_alphas(make_lora(family, tmp_path / "one"), suffix)
    assert abs(image(family, lora) - expected).max() <= 1
