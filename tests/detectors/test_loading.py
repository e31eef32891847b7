"""A checkpoint is used only when every weight is accounted for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t2i_spatial.detectors import DETECTORS, load_detector, resolve_detector
from t2i_spatial.detectors.vocabularies import read_vocabulary
from t2i_spatial.errors import InputError, ModelLoadError


@pytest.fixture
def copy(owlvit_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(owlvit_folder, tmp_path / "model"))


def change(folder: Path, **tensors: torch.Tensor | None) -> None:
    state = load_file(folder / "model.safetensors")
    for key, value in tensors.items():
        name = key.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def test_missing_weight(copy: Path) -> None:
    change(copy, class_head__dense0__weight=None)
    with pytest.raises(ModelLoadError, match=r"lacks weights.*class_head\.dense0\.weight"):
        load_detector(str(copy), device="cpu")


def test_unexpected_weight(copy: Path) -> None:
    change(copy, other__head__weight=torch.zeros(2))
    with pytest.raises(ModelLoadError, match=r"does not know: other\.head\.weight"):
        load_detector(str(copy), device="cpu")


def test_derived_buffers_of_old_checkpoints_do_not_matter(copy: Path) -> None:
    change(copy, owlvit__text_model__embeddings__position_ids=torch.arange(16)[None])
    load_detector(str(copy), device="cpu")


def test_misshapen_weight(copy: Path) -> None:
    change(copy, class_head__dense0__weight=torch.zeros(3, 3))
    with pytest.raises(ModelLoadError, match=r"another shape: class_head\.dense0\.weight"):
        load_detector(str(copy), device="cpu")


def test_pickled_weights_are_refused(copy: Path) -> None:
    state = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match=r"no model\.safetensors"):
        load_detector(str(copy), device="cpu")


def test_a_model_that_is_no_detector(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    with pytest.raises(ModelLoadError, match=r"'clip' model, not a detector.*owlvit"):
        resolve_detector(str(copy))


def test_forced_backend_of_another_architecture(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    with pytest.raises(ModelLoadError, match="not OWL"):
        load_detector(f"owl:{copy}", device="cpu")


def test_folder_without_config_and_broken_config(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no config\.json"):
        resolve_detector(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelLoadError, match="cannot be read"):
        resolve_detector(str(tmp_path))


def test_hub_that_cannot_be_reached_names_the_ways_out() -> None:
    with pytest.raises(ModelLoadError, match=r"HF_HUB_OFFLINE.*folder with config.json"):
        resolve_detector("some/detector-that-is-not-cached")


def test_weights_decide_the_plan(copy: Path) -> None:
    before = resolve_detector(str(copy)).plan()
    change(copy, class_head__dense0__bias=torch.ones(32))
    after = resolve_detector(str(copy)).plan()
    assert before.pop("weights") != after.pop("weights")
    assert before == after


def test_room_is_importable_without_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from t2i_spatial.detectors import DETECTORS; list(DETECTORS);"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "owl" in DETECTORS


def test_vocabularies(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\n\ndog\ncat\n")
    assert read_vocabulary(str(tmp_path / "names.txt")) == ("cat", "dog")
    assert len(read_vocabulary("coco")) == 80
    with pytest.raises(InputError, match="no names"):
        read_vocabulary(" , ")
