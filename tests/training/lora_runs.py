"""Short fine-tunings of tiny models, for the tests of training."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load_file

from t2i_spatial.training import FinetuneSettings
from t2i_spatial.training.families.base import ATTENTION
from t2i_spatial.training.loop import Loop
from tests.tiny_models import tiny_model

LORA = "pytorch_lora_weights.safetensors"
TEXT = "a cat left of a dog"
THOROUGH = {"steps": 7, "accumulate": 2, "ema": 0.9, "checkpoint_every": 2, "schedule": "cosine"}


def settings(family="sd1", **options):
    values = {"steps": 4, "batch_size": 2, "rank": 4, "warmup": 2, "learning_rate": 1e-2}
    return FinetuneSettings(
        **{"model": str(tiny_model(family)), "device": "cpu", **values, **options}
    )


def weights(folder):
    return load_file(folder / LORA)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def content(folder):
    """Everything in the folder of a training but its speed, which is of the machine."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".json", ".jsonl"):
            text = path.read_text()
            lines = text.splitlines() if path.suffix == ".jsonl" else [text]
            records = [json.loads(line) for line in lines]
            files[name] = [_untimed(record) for record in records]
        else:
            files[name] = path.read_bytes()
    return files


def _untimed(record):
    if not isinstance(record, dict):
        return record
    timed = ("seconds", "images_per_second")
    return {key: _untimed(value) for key, value in record.items() if key not in timed}


def fail_at(monkeypatch, step, error, method="_gradients"):
    original = getattr(Loop, method)

    def failing(self, number, *rest):
        if number == step:
            raise error
        return original(self, number, *rest)

    monkeypatch.setattr(Loop, method, failing)


def make_lora(family, folder, **config):
    """A LoRA as peft users save it: rank 4, alpha 8, which diffusers keeps beside the tensors."""
    from diffusers import AutoPipelineForText2Image
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = AutoPipelineForText2Image.from_pretrained(tiny_model(family), use_safetensors=True)
    part = "unet" if hasattr(pipe, "unet") else "transformer"
    denoiser = getattr(pipe, part)
    values = {"r": 4, "lora_alpha": 8, "target_modules": list(ATTENTION), **config}
    torch.manual_seed(5)
    denoiser.add_adapter(LoraConfig(init_lora_weights=False, **values))
    pipe.save_lora_weights(
        folder,
        **{
            f"{part}_lora_layers": get_peft_model_state_dict(denoiser),
            f"{part}_lora_adapter_metadata": values,
        },
    )
    return folder
