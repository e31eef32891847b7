from __future__ import annotations

import json
import subprocess
import sys

import pytest
from PIL import Image
from safetensors.torch import load_file

from t2i_spatial.errors import InputError
from t2i_spatial.training import FinetuneSettings, finetune
from t2i_spatial.training.processes import Processes
from tests.limits import HANGS
from tests.tiny_models import tiny_model

WEIGHTS = "pytorch_lora_weights.safetensors"


@pytest.fixture
def data(tmp_path):
    train = tmp_path / "data" / "train"
    train.mkdir(parents=True)
    lines = []
    for number, colour in enumerate(["red", "green", "blue", "white", "black"]):
        Image.new("RGB", (16, 16), colour).save(train / f"{number}.png")
        line = {"file_name": f"{number}.png", "text": f"a {colour} thing"}
        if number < 3:
            line["objects"] = [{"phrase": "thing", "box": [0, 0, 8, 4 * number + 4]}]
        lines.append(json.dumps(line))
    (train / "metadata.jsonl").write_text("\n".join(lines))
    return train.parent


def _launch(count, data, output, model, *options):
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            "--nproc_per_node", str(count), "-m", "t2i_spatial", "finetune", str(data),
            "-o", str(output), "--model", str(model), "--device", "cpu", "--steps", "3",
            "--batch-size", "4", "--rank", "2", "--seed", "5", *options,
        ],
        capture_output=True, text=True, timeout=HANGS,
    )  # fmt: skip


@pytest.mark.timeout(600)
def test_two_processes_train_what_one_trains(data, tmp_path):
    model = tiny_model("sd1")
    alone = FinetuneSettings(
        model=str(model), device="cpu", steps=3, batch_size=4, rank=2, seed=5, offline=True,
        token_loss=1.0, pixel_loss=1.0,
    )  # fmt: skip
    one = finetune(data, tmp_path / "one", alone)
    losses = ("--token-loss", "1", "--pixel-loss", "1")
    launched = _launch(2, data, tmp_path / "two", model, "--offline", "--json", *losses)
    assert launched.returncode == 0, launched.stderr
    a, b = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert (value - b[name]).abs().max() < 1e-6, name
    assert json.loads(launched.stdout)["loss"] == pytest.approx(one["loss"], abs=1e-6)
    log = (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    assert len(log) == 1
    refused = _launch(2, data, tmp_path / "two", model, "--offline", "--rank", "3")
    assert refused.returncode != 0 and "holds another training" in refused.stderr


def test_a_batch_is_shared_equally_or_not_at_all():
    processes = Processes("cpu")
    assert (processes.rank, processes.count, processes.is_first) == (0, 1, True)
    processes.check_batch(3)
    processes.rank, processes.count = 1, 2
    assert list(range(6))[processes.rows] == [1, 3, 5]
    with pytest.raises(InputError, match="a batch of 3 cannot be shared by 2 processes"):
        processes.check_batch(3)
