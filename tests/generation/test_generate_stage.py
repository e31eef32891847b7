from __future__ import annotations

import errno
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError, PlanMismatchError, T2ISpatialError
from t2i_spatial.generation.generator import Generator
from t2i_spatial.generation.seeds import image_seed
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.generate import GenerateSettings, generate_run
from t2i_spatial.tables import IMAGES
from tests.tiny_models import SIZE, tiny_model

PROMPTS = [
    Prompt(str(k), f"a {noun} left of a dog") for k, noun in enumerate(["cat", "bus", "owl"])
]


def settings(**options):
    values = {"model": str(tiny_model("sd1")), "steps": 2, "samples": 2, "batch_size": 2}
    return GenerateSettings(**{**values, "device": "cpu", **options})


def files(run):
    return {path.name: path.read_bytes() for path in (run.path / "images").iterdir()}


def pixels(run):
    return {
        row["image"]: np.asarray(Image.open(run.image_path(row["image"]))).astype(int)
        for row in run.images().iter_rows(named=True)
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    run = Run.create(tmp_path_factory.mktemp("whole") / "run")
    generate_run(run, PROMPTS, settings())
    return run


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run")


@pytest.fixture
def no_first_look(monkeypatch):
    """Only the planned batches reach the model."""
    monkeypatch.setattr("t2i_spatial.stages.generate_worker.check_text_matters", lambda *_: None)


@pytest.fixture
def calls(monkeypatch, no_first_look):
    """Sizes of the batches that reached the model."""
    sizes = []
    original = Generator.__call__

    def counted(self, texts, seeds, sampling=None):
        sizes.append(len(texts))
        return original(self, texts, seeds, sampling)

    monkeypatch.setattr(Generator, "__call__", counted)
    return sizes


def fail_at(monkeypatch, call, error):
    """Let the model raise `error` once, at its call number `call` after the first look."""
    monkeypatch.setattr("t2i_spatial.stages.generate_worker.check_text_matters", lambda *_: None)
    original = Generator.__call__
    count = iter(range(1000))

    def failing(self, texts, seeds, sampling=None):
        if next(count) == call:
            raise error
        return original(self, texts, seeds, sampling)

    monkeypatch.setattr(Generator, "__call__", failing)


def test_every_expected_image_has_a_row_and_a_file(whole):
    images = whole.images()
    assert dict(images.schema) == dict(IMAGES)
    assert images["prompt_id"].to_list() == ["0", "0", "1", "1", "2", "2"]
    assert images["sample"].to_list() == [0, 1] * 3
    assert images["status"].to_list() == ["scored"] * 6
    assert images["seed"].to_list() == [image_seed(0, str(k), s) for k in range(3) for s in (0, 1)]
    assert set(images["width"]) == set(images["height"]) == {SIZE}
    assert whole.prompts()["text"].to_list() == [prompt.text for prompt in PROMPTS]
    with Image.open(whole.path / "images" / "1_0.png") as image:
        revision = whole.plan("generate")["revision"]
        assert image.text == {
            "prompt_id": "1",
            "sample": "0",
            "seed": str(image_seed(0, "1", 0)),
            "model": f"{tiny_model('sd1')}@{revision}",
            "prompt": "a bus left of a dog",
        }


def test_the_run_says_how_it_was_made(whole):
    plan = whole.plan("generate")
    assert plan["steps"] == 2
    assert plan["guidance_scale"] == 7.5
    assert (plan["width"], plan["height"]) == (SIZE, SIZE)
    assert plan["dtype"] == "fp32"
    assert plan["scheduler"] == "PNDMScheduler"
    assert plan["scheduler_config"]["beta_schedule"] == "scaled_linear"
    record = whole.manifest["stages"]["generate"]["record"]
    assert record["packages"]["diffusers"]
    assert whole.manifest["stages"]["generate"]["results"]["images"] == 6


def test_a_second_call_does_nothing_and_another_plan_is_refused(whole, calls):
    before = files(whole)
    generate_run(whole, PROMPTS, settings())
    assert calls == []
    with pytest.raises(PlanMismatchError, match=r"steps: 2 there, 3 now"):
        generate_run(whole, PROMPTS, settings(steps=3))
    with pytest.raises(PlanMismatchError, match="prompts"):
        generate_run(whole, PROMPTS[:2], settings())
    assert files(whole) == before


def test_interrupted_anywhere_it_ends_with_the_same_bits(whole, run, monkeypatch):
    for call in (1, 0):  # in the second batch of three, then in the second of the two left
        with monkeypatch.context() as patch:
            fail_at(patch, call, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                generate_run(run, PROMPTS, settings())
        assert not run.has("images.parquet")
    generate_run(Run.open(run.path), PROMPTS, settings())
    assert files(run) == files(whole)
    assert run.images().equals(whole.images())


def test_more_samples_are_added_to_a_finished_run(whole, run, monkeypatch, calls):
    generate_run(run, PROMPTS, settings(samples=1))
    first = files(run)
    calls.clear()
    with monkeypatch.context() as patch:
        fail_at(patch, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            generate_run(run, PROMPTS, settings(samples=2))
    with pytest.raises(InputError, match="not finished"):
        Run.open(run.path).images()
    generate_run(Run.open(run.path), PROMPTS, settings(samples=2))
    assert calls == [2, 1]  # those that were there are not made again
    again = Run.open(run.path)
    assert again.images().equals(whole.images())
    assert {name: files(run)[name] for name in first} == first
    ours, theirs = pixels(again), pixels(whole)  # a batch of one rounds otherwise than one of two
    assert max(abs(ours[name] - theirs[name]).max() for name in ours) <= 1
    assert again.plan("generate") == whole.plan("generate")
    assert again.manifest["stages"]["generate"]["grown"] == [1]
    with pytest.raises(PlanMismatchError, match="samples: 2 there, 1 now"):
        generate_run(again, PROMPTS, settings(samples=1))


def test_many_images_are_spread_over_folders_and_those_that_are_there_stay(
    whole, run, monkeypatch, calls
):
    generate_run(run, PROMPTS, settings())
    before = run.images()
    assert set(before["image"]) == set(whole.images()["image"])
    monkeypatch.setattr("t2i_spatial.stages.generate.MOST_IN_A_FOLDER", 7)
    calls.clear()
    generate_run(run, PROMPTS, settings(samples=3))
    after = run.images()
    assert sum(calls) == 3
    assert after.filter(pl.col("sample") < 2).equals(before)
    new = after.filter(pl.col("sample") == 2)["image"]
    assert all(re.fullmatch(r"images/[0-9a-f]{2}/\d_2\.png", name) for name in new)
    assert all(run.image_path(name).is_file() for name in after["image"])


def test_damaged_and_lost_files_are_made_again(whole, run, calls):
    shutil.copytree(whole.path, run.path, dirs_exist_ok=True)
    run = Run.open(run.path)
    damaged = run.path / "images" / "0_1.png"
    damaged.write_bytes(damaged.read_bytes()[:50])
    (run.path / "images" / "2_0.png").unlink()
    generate_run(run, PROMPTS, settings())
    assert calls == [2, 2]
    assert files(run) == files(whole)
    assert run.images().equals(whole.images())


def test_a_file_damaged_between_interruption_and_resume(whole, run, monkeypatch, calls):
    with monkeypatch.context() as patch:
        fail_at(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            generate_run(run, PROMPTS, settings())
    (run.path / "images" / "0_0.png").write_bytes(b"")
    calls.clear()
    generate_run(run, PROMPTS, settings())
    assert calls == [2, 2]
    assert files(run) == files(whole)


def test_another_batch_size_changes_pixels_by_rounding_only(whole, run):
    generate_run(run, PROMPTS, settings(batch_size=6))
    ours, theirs = pixels(run), pixels(whole)
    assert ours.keys() == theirs.keys()
    assert max(abs(ours[name] - theirs[name]).max() for name in ours) <= 1


def test_order_and_number_of_prompts_do_not_change_an_image(whole, run):
    generate_run(run, PROMPTS[::-1], settings())
    assert files(run) == files(whole)


def test_two_processes_make_the_same_images(whole, run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    generate_run(run, PROMPTS, settings(device="cpu,cpu"))
    assert files(run) == files(whole)
    assert run.images().equals(whole.images())


def test_out_of_memory_halves_the_batch_and_says_so(whole, run, monkeypatch, capsys):
    original = Generator.__call__

    def small_device(self, texts, seeds, sampling=None):
        if len(texts) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, texts, seeds, sampling)

    monkeypatch.setattr(Generator, "__call__", small_device)
    generate_run(run, PROMPTS, settings(batch_size=4))
    assert capsys.readouterr().err.count("out of memory: going on with") == 2
    assert run.images()["reason"].to_list() == ["made 1 at a time (out of memory)"] * 6
    assert run.manifest["stages"]["generate"]["results"]["remarks"] == 6
    ours, theirs = pixels(run), pixels(whole)
    assert max(abs(ours[name] - theirs[name]).max() for name in ours) <= 1


def test_out_of_memory_for_a_single_image_is_an_error(run, monkeypatch):
    fail_at(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        generate_run(run, PROMPTS, settings(batch_size=1))


def test_an_automatic_batch_size_is_recorded_and_kept(run, monkeypatch):
    monkeypatch.setattr("t2i_spatial.stages.generate_worker._CPU_PIXELS", 4 * SIZE * SIZE)
    fail_at(monkeypatch, 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        generate_run(run, PROMPTS, settings(batch_size="auto"))
    assert run.plan("generate")["batch_size"] == 4
    monkeypatch.setattr("t2i_spatial.stages.generate_worker._CPU_PIXELS", SIZE * SIZE)
    generate_run(run, PROMPTS, settings(batch_size="auto"))
    assert run.plan("generate")["batch_size"] == 4
    generate_run(run, PROMPTS, settings(batch_size=4))  # the same plan, spelt out


def test_a_full_disk_keeps_finished_batches(whole, run, monkeypatch):
    save = Image.Image.save
    count = iter(range(100))

    def save_until_full(*arguments, **options):
        if next(count) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save_until_full)
        with pytest.raises(T2ISpatialError, match=r"No space left.*finished batches are kept"):
            generate_run(run, PROMPTS, settings())
    assert run.shards("generate").finished() == {0}
    assert not [path for path in run.path.rglob("*") if path.suffix == ".tmp"]
    generate_run(run, PROMPTS, settings())
    assert files(run) == files(whole)


def test_an_image_that_is_not_numbers_is_a_row_with_a_reason(run, monkeypatch, no_first_look):
    from t2i_spatial.generation import generator

    original = generator._finish
    count = iter(range(100))

    def broken_once(array, flagged):
        return original(array * np.nan if next(count) == 3 else array, flagged)

    monkeypatch.setattr(generator, "_finish", broken_once)
    generate_run(run, PROMPTS, settings())
    row = run.images().row(3, named=True)
    assert row["status"] == "image_missing"
    assert "not numbers" in row["reason"]
    assert row["image"] is None
    assert run.manifest["stages"]["generate"]["results"] == {
        "images": 5,
        "missing": 1,
        "remarks": 0,
    }


def test_a_model_that_only_gives_nan_stops_the_run(run, monkeypatch):
    from t2i_spatial.generation import generator

    original = generator._finish
    monkeypatch.setattr(generator, "_finish", lambda a, f: original(a * np.nan, f))
    with pytest.raises(T2ISpatialError, match="try bfloat16 or float32"):
        generate_run(run, PROMPTS, settings())


@pytest.mark.parametrize("stops", [True, False])
def test_images_of_one_colour_are_remarked_and_stop_a_first_batch(run, monkeypatch, stops):
    from t2i_spatial.generation import generator

    original = generator._finish
    count = iter(range(100))

    def black(array, flagged):
        return original(array * 0 if stops or next(count) == 3 else array, flagged)

    monkeypatch.setattr(generator, "_finish", black)
    if stops:
        with pytest.raises(T2ISpatialError, match="one colour all over: every image of the batch"):
            generate_run(run, PROMPTS, settings())
        return
    monkeypatch.setattr("t2i_spatial.stages.generate_worker.check_text_matters", lambda *_: None)
    generate_run(run, PROMPTS, settings())
    row = run.images().row(3, named=True)
    assert (row["status"], row["reason"]) == ("scored", "one colour all over")


def test_a_model_that_does_not_read_its_text_stops_the_run(run, monkeypatch):
    original = Generator.__call__

    def deaf(self, texts, seeds, sampling=None):
        return original(self, ["a cat"] * len(texts), seeds, sampling)

    monkeypatch.setattr(Generator, "__call__", deaf)
    with pytest.raises(T2ISpatialError, match="same image of two prompts"):
        generate_run(run, PROMPTS, settings())
    assert not run.has("images.parquet")
    generate_run(run, PROMPTS[:1], settings())  # nothing to compare


def test_overwrite_forgets_what_was_found_in_the_old_images(run):
    generate_run(run, PROMPTS[:1], settings())
    run.begin("detect", {"detector": "x"})
    (run.path / "detections").mkdir()
    (run.path / "detections" / "main.parquet").write_bytes(b"old")
    before = files(run)
    generate_run(run, PROMPTS[:1], settings(seed=1), overwrite=True)
    assert not run.has("detections/main.parquet")
    assert run.plan("detect") == {}
    assert files(run).keys() == before.keys()
    assert all(files(run)[name] != before[name] for name in before)


def test_a_retrained_local_model_is_another_plan(run, tmp_path):
    from safetensors.torch import load_file, save_file

    model = tmp_path / "model"
    shutil.copytree(tiny_model("sd1"), model)
    generate_run(run, PROMPTS[:1], settings(model=str(model)))
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: v + 0.01 for k, v in load_file(file).items()}, file, {"format": "pt"})
    with pytest.raises(PlanMismatchError, match="revision"):
        generate_run(run, PROMPTS[:1], settings(model=str(model)))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [([], "no prompts"), ([Prompt("a", "x"), Prompt("a", "y")], "occurs twice")],
)
def test_prompt_sets_that_make_no_sense(run, prompts, message):
    with pytest.raises(InputError, match=message):
        generate_run(run, prompts, settings())


def test_settings_are_checked():
    with pytest.raises(ValueError, match="extra"):
        GenerateSettings(modell="x")
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        GenerateSettings(samples=0)


# -- command --------------------------------------------------------------------------------------


@pytest.fixture
def prompt_file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    scene = {"objects": [{"name": "dog"}], "relations": []}
    lines = [{"id": p.id, "text": p.text, "scene": scene} for p in PROMPTS]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def invoke(*arguments):
    return CliRunner().invoke(main, ["generate", *map(str, arguments)])


def test_the_command_makes_a_run_and_resumes_after_an_interrupt(
    prompt_file, tmp_path, whole, monkeypatch
):
    arguments = [prompt_file, "-o", tmp_path / "run", "--model", tiny_model("sd1")]
    arguments += ["--steps", 2, "--samples", 2, "--batch-size", 2, "--device", "cpu"]
    with monkeypatch.context() as patch:
        fail_at(patch, 1, KeyboardInterrupt())
        stopped = invoke(*arguments)
    assert stopped.exit_code == 130
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)
    assert counts == {"output": str(tmp_path / "run"), "images": 6, "missing": 0, "remarks": 0}
    assert files(Run.open(tmp_path / "run")) == files(whole)
    refused = invoke(*arguments, "--seed", 1)
    assert refused.exit_code == 1
    assert "seed: 0 there, 1 now" in refused.stderr
    assert "Traceback" not in refused.output


@pytest.mark.parametrize("size", ["0", "-1", "many"])
def test_a_batch_size_that_makes_no_sense_is_a_usage_error(prompt_file, tmp_path, size):
    result = invoke(prompt_file, "-o", tmp_path / "run", "--batch-size", size)
    assert result.exit_code == 2
    assert "expected a number above 0 (at most 1,000,000), or auto" in result.stderr


def test_an_unknown_model_is_one_line(prompt_file, tmp_path):
    result = invoke(prompt_file, "-o", tmp_path / "run", "--model", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [f"error: {tmp_path / 'nowhere'}: no such folder"]
