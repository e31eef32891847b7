from __future__ import annotations

import tempfile
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.training import latent_cache
from t2i_spatial.training.caption_store import CaptionFile
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


def test_many_captions_are_kept_in_a_file(tmp_path, monkeypatch, capsys):
    captions = Captions([Example(tmp_path, f"caption {k}") for k in range(39)])
    captions.cache(Recording())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(latent_cache, "_LARGE", 40 * 60 * 4 - 1)
    family = Recording()
    captions.cache(family)
    told = f"40 captions take 0.0 GB and are kept in {tempfile.gettempdir()}\n"
    assert capsys.readouterr().err == told
    assert family.batches == [16, 16, 8]
    rows = captions.rows(family, torch.tensor([39, 0]), torch.device("cpu"))
    assert rows["text"].shape == (2, 5, 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool])
def test_captions_come_back_as_they_were(dtype):
    random = torch.Generator().manual_seed(0)
    given = [
        {"text": torch.randn(2, length, 3, generator=random).transpose(0, 1).to(dtype)}
        | {"pooled": torch.randn((), generator=random)}
        for length in (4, 1)
    ]
    kept = CaptionFile()
    for caption in given:
        kept.append(caption)
    for number in (1, 0, 1):
        assert kept[number].keys() == given[number].keys()
        for name, value in given[number].items():
            assert kept[number][name].dtype == value.dtype
            assert torch.equal(kept[number][name], value)


def test_a_full_disk_is_told_in_a_line(monkeypatch):
    kept = CaptionFile()
    full = SimpleNamespace(write=lambda raw: (_ for _ in ()).throw(OSError(28, "No space left")))
    monkeypatch.setattr(kept, "_file", full)
    with pytest.raises(
        T2ISpatialError, match=r"cannot keep captions in .*: No space left; set TMP"
    ):
        kept.append({"text": torch.zeros(2)})
