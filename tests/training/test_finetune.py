from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from t2i_spatial.errors import InputError, ModelLoadError, PlanMismatchError, T2ISpatialError
from t2i_spatial.generation import load_generator
from t2i_spatial.generation.generator import Sampling
from t2i_spatial.training import FinetuneSettings, finetune
from t2i_spatial.training.loop import Loop
from tests.tiny_models import FAMILIES, SIZE, tiny_model

LORA = "pytorch_lora_weights.safetensors"
TEXT = "a cat left of a dog"


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Six images of other sizes than the model's, with weights."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    train = folder / "train"
    train.mkdir()
    lines = []
    for k in range(6):
        pixels = random.integers(0, 256, (20 + k, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(train / f"{k}.png")
        lines.append({"file_name": f"{k}.png", "text": f"object {k % 3}", "weight": 1 + k % 2})
    (train / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def settings(family="sd1", **options):
    values = {"steps": 4, "batch_size": 2, "rank": 4, "warmup": 2, "learning_rate": 1e-2}
    return FinetuneSettings(
        **{"model": str(tiny_model(family)), "device": "cpu", **values, **options}
    )


def weights(folder):
    return load_file(folder / LORA)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def fail_at(monkeypatch, step, error, method="_gradients"):
    original = getattr(Loop, method)

    def failing(self, number):
        if number == step:
            raise error
        return original(self, number)

    monkeypatch.setattr(Loop, method, failing)


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_diffusers_loads_exactly_what_was_trained(family, data, tmp_path, monkeypatch):
    from diffusers import AutoPipelineForText2Image

    loops = []
    run = Loop.run
    monkeypatch.setattr(Loop, "run", lambda self: loops.append(self) or run(self))
    result = finetune(data, tmp_path, settings(family))
    assert result["steps"] == 4
    assert np.isfinite(result["loss"])
    options = {"num_inference_steps": 2, "width": SIZE, "height": SIZE, "output_type": "np"}

    def image(pipe):
        pipe.set_progress_bar_config(disable=True)
        return pipe(TEXT, generator=torch.Generator().manual_seed(1), **options).images[0]

    trained = image(loops[0].family.pipe)
    fresh = AutoPipelineForText2Image.from_pretrained(tiny_model(family), use_safetensors=True)
    base = image(fresh)
    fresh.load_lora_weights(str(tmp_path))
    assert np.array_equal(image(fresh), trained)
    assert not np.array_equal(base, trained)
