"""A training that stops, for whatever reason, loses nothing and can go on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from t2i_spatial.errors import InputError, PlanMismatchError, T2ISpatialError
from t2i_spatial.generation import load_generator
from t2i_spatial.generation.generator import Sampling
from t2i_spatial.training import finetune
from t2i_spatial.training.loop import Loop
from tests.tiny_models import SIZE, tiny_model
from tests.training.lora_runs import (
    LORA,
    TEXT,
    THOROUGH,
    content,
    fail_at,
    same,
    settings,
    weights,
)


@pytest.mark.parametrize(
    ("method", "step"),
    [
        ("_gradients", 0),
        ("_gradients", 3),
        ("_update", 3),
        ("_update", 6),
        ("_checkpoint", 6),
        ("_log", 3),
    ],
)
def test_interrupted_anywhere_it_ends_with_the_same_folder(
    method, step, data, whole, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        if method == "_log":
            patch.setattr("t2i_spatial.training.loop._LOG_EVERY", 1)
            patch.setattr(Loop, "_log", _interrupt_after(step))
        else:
            fail_at(patch, step, KeyboardInterrupt(), method)
        try:
            finetune(data, tmp_path, settings(**THOROUGH))
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
    assert interrupted or method == "_checkpoint"  # there is no checkpoint of every step
    finetune(data, tmp_path, settings(**THOROUGH), resume=True)
    assert content(tmp_path) == content(whole)


def _interrupt_after(step):
    def log(self, number, losses, rate):
        if number == step + 1:
            raise KeyboardInterrupt

    return log


def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(
    data, whole, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        fail_at(patch, 6, KeyboardInterrupt(), "_update")  # too late for a checkpoint of step 6
        with pytest.raises(KeyboardInterrupt):
            finetune(data, tmp_path, settings(**THOROUGH))
    newest = max((tmp_path / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    finetune(data, tmp_path, settings(**THOROUGH), resume=True)
    said = capsys.readouterr().err
    assert f"{newest} cannot be read" in said and "going on after step 4" in said
    assert content(tmp_path) == content(whole)


def test_an_interrupt_between_steps_loses_nothing(data, tmp_path, monkeypatch, capsys):
    options = {**THOROUGH, "checkpoint_every": 1000}
    with monkeypatch.context() as patch:
        fail_at(patch, 5, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            finetune(data, tmp_path, settings(**options))
    finetune(data, tmp_path, settings(**options), resume=True)
    assert "going on after step 5" in capsys.readouterr().err


def test_a_second_training_in_the_same_folder(data, whole, tmp_path, monkeypatch):
    assert finetune(data, whole, settings(**THOROUGH))["steps"] == 7  # finished: nothing to do
    with pytest.raises(PlanMismatchError, match=r"rank: 4 there, 2 now"):
        finetune(data, whole, settings(**THOROUGH, rank=2), resume=True)
    with monkeypatch.context() as patch:
        fail_at(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            finetune(data, tmp_path, settings())
    with pytest.raises(InputError, match="--resume goes on"):
        finetune(data, tmp_path, settings())
    finetune(data, tmp_path, settings(seed=1), overwrite=True)
    other = tmp_path / "other"
    finetune(data, other, settings(seed=1))
    assert same(weights(tmp_path), weights(other))


def test_one_training_at_a_time_writes_to_a_folder(data, tmp_path, monkeypatch):
    refused = []
    original = Loop._gradients

    def second(self, step):
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match="another training is writing to"):
                finetune(data, tmp_path, settings(), **options)
            refused.append(options)
        return original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_gradients", second)
        finetune(data, tmp_path, settings(steps=1))
    assert len(refused) == 3
    finetune(data, tmp_path, settings(), overwrite=True)
    finetune(data, tmp_path / "alone", settings())
    assert same(weights(tmp_path), weights(tmp_path / "alone"))


def test_a_log_line_that_was_cut_off_is_dropped(data, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("t2i_spatial.training.loop._LOG_EVERY", 1)
        fail_at(patch, 5, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            finetune(data, tmp_path, settings(**THOROUGH))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    finetune(data, tmp_path, settings(**THOROUGH), resume=True)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 7]
    assert same(weights(tmp_path), weights(whole))


@pytest.mark.parametrize("place", ["log.jsonl", "checkpoints"])
def test_what_cannot_be_written_is_one_error(place, data, tmp_path):
    (tmp_path / "log.jsonl" if place == "log.jsonl" else tmp_path / "elsewhere").mkdir()
    if place == "checkpoints":
        (tmp_path / "checkpoints").write_bytes(b"")
    with pytest.raises(T2ISpatialError, match=rf"cannot write .*{place}"):
        finetune(data, tmp_path, settings())


def test_unreadable_images_are_counted_before_any_step(data, tmp_path):
    import shutil

    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "train" / "1.png").write_bytes((data / "train" / "1.png").read_bytes()[:600])
    (folder / "train" / "4.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"2 of 6 images cannot be read: .*1\.png.*4\.png"):
        finetune(folder, tmp_path / "lora", settings())


def test_other_data_is_another_plan(data, whole, tmp_path):
    import shutil

    shutil.copytree(data, tmp_path / "data")
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "train" / "0.png")
    with pytest.raises(PlanMismatchError, match="data: "):
        finetune(tmp_path / "data", whole, settings(**THOROUGH), resume=True)


def test_foreign_weights_are_not_overwritten(data, tmp_path):
    (tmp_path / LORA).write_bytes(b"precious")
    with pytest.raises(InputError, match="another origin"):
        finetune(data, tmp_path, settings())
    assert (tmp_path / LORA).read_bytes() == b"precious"


def test_a_first_step_that_is_too_long_stops_the_training(data, tmp_path):
    long = {"learning_rate": 1e25, "warmup": 0, "max_grad_norm": 1e9}
    with pytest.raises(T2ISpatialError, match=r"loss of step 2 is not .* nothing was learnt yet"):
        finetune(data, tmp_path, settings(**long))
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("every", [1, 100])
def test_weights_that_the_last_step_broke_are_not_written(every, data, tmp_path, monkeypatch):
    update = Loop._update

    def overflowing(self, step):
        update(self, step)
        if step == 3:
            next(iter(self.parameters.values())).data.fill_(torch.inf)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_update", overflowing)
        with pytest.raises(T2ISpatialError, match=r"weights after step 4 are not .* after step 3"):
            finetune(data, tmp_path, settings(checkpoint_every=every))
    assert not (tmp_path / LORA).exists()
    found = list(tmp_path.rglob("*.safetensors"))
    assert len(found) == (3 if every == 1 else 1)  # last_good, and checkpoints of steps 2 and 3
    assert all(value.isfinite().all() for file in found for value in load_file(file).values())
    finetune(data, tmp_path, settings(checkpoint_every=every), resume=True)
    finetune(data, tmp_path / "untouched", settings())
    assert same(weights(tmp_path), weights(tmp_path / "untouched"))


@pytest.mark.parametrize("ema", [None, 0.5])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_not_a_number_leaves_the_last_good_lora(
    what, ema, data, tmp_path, monkeypatch
):
    finetune(data, tmp_path / "good", settings(steps=2, ema=ema, tenor=True))
    update = Loop._update

    def diverging(self, step):
        parameter = next(iter(self.parameters.values()))
        if step == 2 and what == "gradient":
            parameter.grad.fill_(torch.nan)
        update(self, step)
        if step == 2:
            parameter.data.fill_(1e38)

    wanted = settings(steps=8, ema=ema, tenor=True)
    message = rf"the {what} of step .* the LoRA after step 2 is"
    with monkeypatch.context() as patch, pytest.raises(T2ISpatialError, match=message):
        patch.setattr(Loop, "_update", diverging)
        finetune(data, tmp_path / "bad", wanted)
    assert not (tmp_path / "bad" / LORA).exists()
    kept = tmp_path / "bad" / "last_good"
    assert same(weights(kept), weights(tmp_path / "good"))
    image = load_generator(str(tiny_model("sd1")), device="cpu", lora=str(kept))(
        [TEXT], [1], Sampling(steps=1, width=SIZE, height=SIZE)
    )[0].image
    expected = load_generator(str(tiny_model("sd1")), device="cpu", lora=str(tmp_path / "good"))(
        [TEXT], [1], Sampling(steps=1, width=SIZE, height=SIZE)
    )[0].image
    assert np.array_equal(np.asarray(image), np.asarray(expected))  # with TENOR, too
    finetune(data, tmp_path / "next", settings(lora=str(kept), tenor=True))


@pytest.mark.parametrize("interrupted", [False, True])
def test_more_steps_extend_a_training(data, tmp_path, monkeypatch, capsys, interrupted):
    options = {"checkpoint_every": 2, "caption_dropout": 0.5}
    finetune(data, tmp_path / "whole", settings(steps=5, **options))
    if interrupted:
        with monkeypatch.context() as patched:
            fail_at(patched, 3, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                finetune(data, tmp_path / "more", settings(steps=4, **options))
    else:
        finetune(data, tmp_path / "more", settings(steps=3, **options))
    with pytest.raises(PlanMismatchError, match="steps"):
        finetune(data, tmp_path / "more", settings(steps=5, **options))
    with pytest.raises(PlanMismatchError, match="rank"):
        finetune(data, tmp_path / "more", settings(steps=5, rank=2, **options), resume=True)
    result = finetune(data, tmp_path / "more", settings(steps=5, **options), resume=True)
    assert result["steps"] == 5
    assert f"5 steps instead of {4 if interrupted else 3}" in capsys.readouterr().err
    assert same(weights(tmp_path / "more"), weights(tmp_path / "whole"))
    with pytest.raises(PlanMismatchError, match="steps"):
        finetune(data, tmp_path / "more", settings(steps=4, **options), resume=True)
