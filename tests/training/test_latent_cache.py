from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from t2i_spatial.training import latent_cache
from t2i_spatial.training.data import Example
from t2i_spatial.training.latent_cache import Captions, encode_images


class Recording:
    """A model that notes how much it is given at a time."""

    def __init__(self):
        self.pipe = SimpleNamespace(vae=SimpleNamespace(dtype=torch.float32))
        self.batches = []

    def latents(self, images):
        self.batches.append(len(images))
        return images[:, :, :2, :2]

    def encode(self, texts):
        self.batches.append(len(texts))
        return {"text": torch.ones(len(texts), 5, 10), "pooled": torch.ones(len(texts), 10)}


@pytest.mark.parametrize(
    ("size", "batches"),
    [
        (64, [16, 2]),
        (256, [16, 2]),
        (512, [4, 4, 4, 4, 2]),
        (1024, [1] * 18),
        (2048, [1] * 18),
    ],
)
def test_larger_images_are_encoded_fewer_at_a_time(size, batches, tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    family = Recording()
    examples = [Example(tmp_path / "a.png", "a cat")] * 18
    assert len(encode_images(family, examples, size)) == 18
    assert family.batches == batches


def test_the_memory_of_many_captions_is_said(tmp_path, monkeypatch, capsys):
    captions = Captions([Example(tmp_path, f"caption {k}") for k in range(39)])
    captions.cache(Recording())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(latent_cache, "_LARGE", 40 * 60 * 4 - 1)
    family = Recording()
    captions.cache(family)
    assert capsys.readouterr().err == "40 captions will take 0.0 GB of memory\n"
    assert family.batches == [16, 16, 8]
    rows = captions.rows(family, torch.tensor([39, 0]), torch.device("cpu"))
    assert rows["text"].shape == (2, 5, 10)
