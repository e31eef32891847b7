"""What is loaded when, and frozen weights in fewer bits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.generation.parts import Parts
from t2i_spatial.training import finetune
from t2i_spatial.training.loop import Loop
from tests.scripts import load_script
from tests.tiny_models import SIZE, tiny_model
from tests.training.lora_runs import LORA, TEXT, settings, weights


def loaded(pipe):
    models = {n: c for n, c in pipe.components.items() if isinstance(c, torch.nn.Module)}
    return {n for n, m in models.items() if not any(p.is_meta for p in m.parameters())}


@pytest.fixture
def loop(monkeypatch):
    """The loop of the last training."""
    loops = []
    run = Loop.run
    monkeypatch.setattr(Loop, "run", lambda self: loops.append(self) or run(self))
    return loops


def test_one_model_is_in_memory_at_a_time(data, tmp_path, loop, monkeypatch):
    seen = []
    load = Parts.load

    def noting(self, names):
        load(self, names)
        seen.append(loaded(self.pipe))

    monkeypatch.setattr(Parts, "load", noting)
    finetune(data, tmp_path, settings("sdxl", steps=1))
    assert seen == [{"vae"}, {"text_encoder", "text_encoder_2"}, {"unet"}]
    assert loaded(loop[0].family.pipe) == {"unet"}


def test_what_the_loop_needs_stays(data, tmp_path, loop):
    finetune(data, tmp_path / "a", settings(steps=1, text_encoder=True))
    assert loaded(loop[-1].family.pipe) == {"unet", "text_encoder"}
    finetune(data, tmp_path / "b", settings(steps=1, validate_every=1))
    assert loaded(loop[-1].family.pipe) == {"unet", "text_encoder", "vae"}
    assert (tmp_path / "b/validation/step-00000001/0.png").exists()


@pytest.mark.parametrize(("family", "bits", "like"), [("sd1", 4, 0.5), ("sd3", 8, 0.9)])
def test_a_lora_on_packed_weights_loads_on_the_whole_ones(family, bits, like, data, tmp_path, loop):
    """And resembles what the same training makes on the whole ones, up to the error of packing."""
    from diffusers import AutoPipelineForText2Image

    options = {"steps": 3, "resolution": SIZE}
    finetune(data, tmp_path / "packed", settings(family, **options, base_bits=bits))
    denoiser = loop[0].family.denoiser
    assert any(not p.is_floating_point() for p in denoiser.parameters())
    assert {p.dtype for p in loop[0].parameters.values()} == {torch.float32}
    finetune(data, tmp_path / "whole", settings(family, **options))
    packed, whole = weights(tmp_path / "packed"), weights(tmp_path / "whole")
    assert packed.keys() == whole.keys()
    first, second = (
        torch.cat([v.flatten() for k, v in w.items() if "lora_B" in k or "lora.up" in k])
        for w in (packed, whole)
    )
    assert torch.nn.functional.cosine_similarity(first, second, 0) > like
    assert not torch.equal(first, second)

    pipe = AutoPipelineForText2Image.from_pretrained(tiny_model(family), use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    run = {"num_inference_steps": 1, "width": SIZE, "height": SIZE, "output_type": "np"}
    base = pipe(TEXT, generator=torch.Generator().manual_seed(1), **run).images[0]
    pipe.load_lora_weights(str(tmp_path / "packed"))
    image = pipe(TEXT, generator=torch.Generator().manual_seed(1), **run).images[0]
    assert not np.array_equal(base, image)


def test_16_bits_are_those_of_the_computation(data, tmp_path, loop):
    with pytest.raises(InputError, match="--base-bits 16 needs a computation in 16 bits"):
        finetune(data, tmp_path, settings(base_bits=16))
    finetune(data, tmp_path, settings(steps=1, base_bits="16", dtype="bf16"))
    frozen = [p for p in loop[0].family.denoiser.parameters() if not p.requires_grad]
    assert {p.dtype for p in frozen} == {torch.bfloat16}
    assert all(v.isfinite().all() for v in weights(tmp_path).values())


def test_packing_is_part_of_the_plan(data, tmp_path):
    finetune(data, tmp_path, settings(steps=1))
    plan = json.loads((tmp_path / "t2i_spatial_lora.json").read_text())["plan"]
    assert plan["base_bits"] is None
    assert (tmp_path / LORA).exists()
    with pytest.raises(PlanMismatchError, match="base_bits: None there, 4 now"):
        finetune(data, tmp_path, settings(steps=1, base_bits=4), resume=True)


def test_the_table_of_the_documentation_is_current():
    """Two of its models; the others take a while to build, even without weights."""
    script = load_script("memory_table")
    text = script.TABLE.file.read_text("utf-8")
    few = [model for model in script.MODELS if model.title in ("SD 1.5", "PixArt-Σ")]
    assert len(few) == 2
    for model in few:
        assert script.row(model) in text.splitlines(), "run scripts/memory_table.py"
