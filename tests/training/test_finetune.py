from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from t2i_spatial.errors import InputError, ModelLoadError
from t2i_spatial.generation import load_generator
from t2i_spatial.generation.generator import Sampling
from t2i_spatial.generation.lora import FLAGS_FILE
from t2i_spatial.training import finetune
from t2i_spatial.training.families import find_family
from t2i_spatial.training.loop import Loop
from tests.tiny_models import FAMILIES, SIZE, tiny_model
from tests.training.lora_runs import LORA, TEXT, THOROUGH, fail_at, same, settings, weights


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_diffusers_loads_exactly_what_was_trained(family, data, tmp_path, monkeypatch):
    from diffusers import AutoPipelineForText2Image

    loops = []
    run = Loop.run
    monkeypatch.setattr(Loop, "run", lambda self: loops.append(self) or run(self))
    # with validation images in sight, all models stay loaded
    result = finetune(data, tmp_path, settings(family, validate_every=9))
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


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux"])
def test_text_encoders_are_trained_too_when_asked(family, data, tmp_path, monkeypatch):
    from diffusers import AutoPipelineForText2Image

    loops = []
    run = Loop.run
    monkeypatch.setattr(Loop, "run", lambda self: loops.append(self) or run(self))
    finetune(data, tmp_path, settings(family, text_encoder=True, steps=2))
    parts = {name.split(".")[0] for name in weights(tmp_path)}
    assert {"text_encoder"} <= parts
    assert ("text_encoder_2" in parts) == (family in ("sdxl", "sd3"))
    fresh = AutoPipelineForText2Image.from_pretrained(tiny_model(family), use_safetensors=True)
    with torch.no_grad():
        base = find_family(fresh).encode([TEXT])
        fresh.load_lora_weights(str(tmp_path))
        loaded = find_family(fresh).encode([TEXT])
        ours = loops[0].family.encode([TEXT])
    assert same(ours, loaded)
    assert not same(base, loaded)


def test_alpha_is_part_of_the_saved_weights(data, tmp_path, monkeypatch):
    from diffusers import StableDiffusionPipeline

    loops = []
    run = Loop.run
    monkeypatch.setattr(Loop, "run", lambda self: loops.append(self) or run(self))
    finetune(data, tmp_path, settings(alpha=8))  # twice the rank
    fresh = StableDiffusionPipeline.from_pretrained(tiny_model("sd1"), use_safetensors=True)
    fresh.load_lora_weights(str(tmp_path))
    inputs = (torch.ones(1, 4, 16, 16), 500, torch.ones(1, 77, 32))
    ours = loops[0].family.denoiser(*inputs).sample
    assert torch.equal(ours, fresh.unet(*inputs).sample)


# -- options --------------------------------------------------------------------------------------


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_learns(data, tmp_path):
    finetune(data, tmp_path, settings("flow_unet", steps=60, batch_size=6, caption_dropout=0.0))
    assert losses(tmp_path)[-1] < 0.95 * losses(tmp_path)[0]


def test_gradient_checkpointing_and_compute_format_change_rounding_only(data, tmp_path):
    options = {"steps": 1, "learning_rate": 1e-3, "warmup": 0}
    finetune(data, tmp_path / "plain", settings(**options))
    finetune(data, tmp_path / "saving", settings(**options, gradient_checkpointing=True))
    finetune(data, tmp_path / "bf16", settings(**options, precision="bf16"))
    first = {k: v for k, v in weights(tmp_path / "plain").items() if "lora_B" in k}
    for name in ("saving", "bf16"):
        other = weights(tmp_path / name)
        agree = torch.cat(
            [(other[k].sign() == v.sign()).flatten().float() for k, v in first.items()]
        )
        assert agree.mean() > (0.99 if name == "saving" else 0.9)


def test_an_average_of_the_weights_is_what_is_saved(data, tmp_path):
    finetune(data, tmp_path / "last", settings())
    finetune(data, tmp_path / "average", settings(ema=0.5))
    last, average = weights(tmp_path / "last"), weights(tmp_path / "average")
    up = [name for name in last if "lora_B" in name]
    norms = [sum(float(values[name].norm()) for name in up) for values in (last, average)]
    assert 0 < norms[1] < norms[0]  # the average lags behind weights that grow from zero


def test_weights_decide_which_images_matter(data, tmp_path):
    lines = [json.loads(x) for x in (data / "train" / "metadata.jsonl").read_text().splitlines()]
    for k, line in enumerate(lines):
        line["file_name"] = str((data / "train" / line["file_name"]).resolve())
        line["weight"] = float(k < 4)
    results = []
    for name, keep in (("zero", lines), ("absent", lines[:4])):
        folder = tmp_path / name
        folder.mkdir()
        for line in keep:
            source = (data / "train" / line["file_name"]).resolve()
            (folder / source.name).write_bytes(source.read_bytes())
        rows = [{**line, "file_name": line["file_name"].rsplit("/")[-1]} for line in keep]
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        finetune(folder, tmp_path / f"lora-{name}", settings())
        results.append(weights(tmp_path / f"lora-{name}"))
    assert same(*results)


def test_validation_images_are_written_and_change_nothing(data, tmp_path, whole):
    finetune(
        data,
        tmp_path,
        settings(**THOROUGH, validate_every=3, validation_prompts=("a cat", "a dog")),
    )
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("validation/*/*.png"))
    assert found == [f"validation/step-{step:08d}/{k}.png" for step in (3, 6) for k in (0, 1)]
    with Image.open(tmp_path / found[0]) as image:
        assert image.size == (SIZE, SIZE)
        assert image.text["prompt"] == "a cat"
    assert same(weights(tmp_path), weights(whole))


def test_a_tracker_is_told_what_the_log_says_and_changes_nothing(
    data, tmp_path, whole, monkeypatch
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = {"trackers": ("tensorboard",), "validate_every": 3, "validation_prompts": (TEXT,)}
    with monkeypatch.context() as patch:
        fail_at(patch, 5, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            finetune(data, tmp_path, settings(**THOROUGH, **told))
    finetune(data, tmp_path, settings(**THOROUGH, **told), resume=True)
    assert same(weights(tmp_path), weights(whole))
    events = EventAccumulator(str(tmp_path / "trackers" / "t2i-spatial")).Reload()
    logged = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    loss = events.Scalars("loss")[-1]
    assert loss.step == logged["step"] and loss.value == pytest.approx(logged["loss"])
    assert [picture.step for picture in events.Images(events.Tags()["images"][0])] == [3, 6]


def test_trackers_that_do_not_exist(data, tmp_path):
    with pytest.raises(
        InputError, match=r"unknown tracker 'tensorbord'; did you mean 'tensorboard"
    ):
        finetune(data, tmp_path, settings(trackers=("tensorbord",)))
    assert not (tmp_path / LORA).exists()


def test_training_goes_on_from_another_lora(data, tmp_path):
    finetune(data, tmp_path / "first", settings())
    still = settings(lora=str(tmp_path / "first"), learning_rate=1e-30, weight_decay=0.0)
    finetune(data, tmp_path / "second", still)
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert all(torch.allclose(first[name], second[name]) for name in first)
    with pytest.raises(ModelLoadError, match=r"cannot be continued.*rank"):
        finetune(data, tmp_path / "a", settings(lora=str(tmp_path / "first"), rank=2))
    with pytest.raises(ModelLoadError, match=r"does not fit StableDiffusionXLPipeline"):
        finetune(data, tmp_path / "b", settings("sdxl", lora=str(tmp_path / "first")))
    with pytest.raises(ModelLoadError, match="predicts 'epsilon'; this model predicts 'flow_pred"):
        finetune(data, tmp_path / "c", settings("flux", lora=str(tmp_path / "first")))
    with pytest.raises(ModelLoadError, match="trained without --tenor"):
        finetune(data, tmp_path / "d", settings(lora=str(tmp_path / "first"), tenor=True))


def test_weights_of_a_model_that_predicts_something_else_are_refused(data, tmp_path):
    finetune(data, tmp_path / "lora", settings())
    other = tmp_path / "model"
    shutil.copytree(tiny_model("sd1"), other)
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"prediction_type": "v_prediction"})
    )
    with pytest.raises(ModelLoadError, match="this model predicts 'v_prediction'"):
        load_generator(str(other), device="cpu", lora=str(tmp_path / "lora"))
    (tmp_path / "lora" / "t2i_spatial_lora.json").unlink()  # as if it were somebody else's
    load_generator(str(other), device="cpu", lora=str(tmp_path / "lora"))


def test_targets_that_do_not_exist(data, tmp_path):
    with pytest.raises(InputError, match="no layers named nowhere in the unet"):
        finetune(data, tmp_path, settings(targets=("nowhere",)))


def test_captions_that_are_too_long_are_counted(data, tmp_path, capsys):
    path = tmp_path / "data"
    path.mkdir()
    lines = []
    for k in range(4):
        Image.new("RGB", (8, 8)).save(path / f"{k}.png")
        lines.append({"file_name": f"{k}.png", "text": "a cat" if k else "x" * 100})
    (path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError, match=r"1 of 2 captions are longer than the 77 tokens"):
        finetune(path, tmp_path / "lora", settings())
    finetune(path, tmp_path / "lora", settings(steps=1, truncate_captions=True))
    assert "ends are not learnt" in capsys.readouterr().err


@pytest.mark.parametrize(("family", "part"), [("sd1", 2), ("sd3", 4), ("flux", 4)])
def test_resolutions_that_do_not_fit_the_model(family, part, data, tmp_path):
    with pytest.raises(InputError, match=f"a multiple of {part}$"):
        finetune(data, tmp_path, settings(family, resolution=8 * part + 1))
    finetune(data, tmp_path, settings(family, resolution=5 * part, steps=1))


def test_t5_reads_longer_captions_than_clip():
    from t2i_spatial.generation.generator import load_pipeline
    from t2i_spatial.generation.resolve import resolve_model

    limits = {
        family: find_family(
            load_pipeline(resolve_model(str(tiny_model(family))), None, "fp32")
        ).longest_caption()[1]
        for family in ("sd1", "sdxl", "sd3", "flux")
    }
    assert limits == {"sd1": 77, "sdxl": 77, "sd3": 256, "flux": 512}


# -- TENOR ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd1", "flux"])
def test_tenor_is_stored_beside_the_weights_and_honoured(family, data, tmp_path, monkeypatch):
    loops = []
    run = Loop.run
    monkeypatch.setattr(Loop, "run", lambda self: loops.append(self) or run(self))
    finetune(data, tmp_path, settings(family, tenor=True, validate_every=9))
    sampling = Sampling(steps=2, width=SIZE, height=SIZE)

    def image(generator):
        return np.asarray(generator([TEXT], [1], sampling)[0].image)

    model = str(tiny_model(family))
    loaded = load_generator(model, device="cpu", lora=str(tmp_path))
    with_tenor = image(loaded)
    loaded.pipe = loops[0].family.pipe
    loaded.pipe.set_progress_bar_config(disable=True)
    assert np.array_equal(image(loaded), with_tenor)
    (tmp_path / "t2i_spatial_lora.json").unlink()
    without = image(load_generator(model, device="cpu", lora=str(tmp_path)))
    assert not np.array_equal(without, with_tenor)


def test_a_training_on_parquet_is_that_on_its_images(data, tmp_path):
    lines = (data / "train/metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    images = [(data / "train" / row.pop("file_name")).read_bytes() for row in rows]
    pl.DataFrame(rows).with_columns(image=pl.Series(images)).write_parquet(tmp_path / "a.parquet")
    finetune(data, tmp_path / "folder", settings(steps=2))
    finetune(tmp_path / "a.parquet", tmp_path / "packed", settings(steps=2))
    assert same(weights(tmp_path / "folder"), weights(tmp_path / "packed"))
    flags = [json.loads((tmp_path / n / FLAGS_FILE).read_text()) for n in ("folder", "packed")]
    assert flags[0]["plan"] == flags[1]["plan"]


def test_several_captions_are_all_learnt_and_need_no_attention_losses(data, tmp_path):
    lines = (data / "train/metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) | {"other": f"other {k}"} for k, line in enumerate(lines)]
    for row in rows:
        (tmp_path / row["file_name"]).write_bytes((data / "train" / row["file_name"]).read_bytes())
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = settings(steps=2, caption_columns=("text", "other"))
    result = finetune(tmp_path, tmp_path / "lora", both)
    assert result["distinct_captions"] == 9
    with pytest.raises(InputError, match="one caption for each image"):
        finetune(tmp_path, tmp_path / "b", both.model_copy(update={"token_loss": 1.0}))
