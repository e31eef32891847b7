"""Training data and a finished fine-tuning, made once."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
from PIL import Image

from t2i_spatial.training import finetune
from tests.training.lora_runs import THOROUGH, settings


@pytest.fixture(scope="module", autouse=True)
def _libraries_are_no_garbage():
    """A training collects garbage twice, which takes as long as there are objects of libraries."""
    import diffusers  # noqa: F401
    import peft  # noqa: F401
    import transformers  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _frozen_heap():
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _small_heap(_frozen_heap):
    """Trainings collect garbage; going through all that libraries hold takes most of their time."""
    gc.freeze()


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


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finetune(data, folder, settings(**THOROUGH))
    return folder
