from __future__ import annotations

import json
import shutil

import polars as pl
import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.run import Run
from t2i_spatial.tables import SELECTION
from t2i_spatial.training import FinetuneSettings
from t2i_spatial.training.loop import Loop
from tests.tiny_models import tiny_model
from tests.training.lora_runs import LORA, fail_at


def invoke(*arguments):
    return CliRunner().invoke(main, ["finetune", *map(str, arguments)])


def options():
    return ["--model", tiny_model("sd1"), "--device", "cpu", "--steps", 2, "--batch-size", 2]


@pytest.fixture
def run(tmp_path, data):
    run = Run.create(tmp_path / "run")
    shutil.copytree(data, run.path / "curated")
    return run


def test_a_run_directory_gets_its_lora(run):
    result = invoke(run.path, *options(), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == 6
    assert (run.path / "lora" / LORA).is_file()
    again = invoke(run.path, *options())
    assert again.exit_code == 0
    assert "2 steps on 6 images" in again.stdout


def test_an_interrupt_ends_with_130_and_resume_goes_on(data, tmp_path, monkeypatch):
    arguments = [data, "-o", tmp_path / "lora", *options()]
    with monkeypatch.context() as patch:
        fail_at(patch, 1, KeyboardInterrupt())
        assert invoke(*arguments).exit_code == 130
    refused = invoke(*arguments)
    assert refused.exit_code == 1
    assert "--resume goes on" in refused.stderr
    steps = []
    original = Loop._gradients
    monkeypatch.setattr(Loop, "_gradients", lambda self, k: steps.append(k) or original(self, k))
    assert invoke(*arguments, "--resume").exit_code == 0
    assert steps == [1]


def test_usage_errors(data, tmp_path):
    result = invoke(data, "-o", tmp_path / "lora", "--resume", "--overwrite")
    assert result.exit_code == 2
    result = invoke(data, *options())
    assert result.exit_code == 1
    assert "say with --output" in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--learning-rate", "-1"),
        ("--learning-rate", "inf"),
        ("--ema", "1"),
        ("--min-snr", "0"),
        ("--alpha", "0"),
        ("--noise-mean", "nan"),
        ("--noise-std", "0"),
        ("--weight-decay", "-1"),
        ("--max-grad-norm", "0"),
        ("--caption-dropout", "1"),
        ("--token-loss", "nan"),
        ("--resolution", "1000000"),
        ("--seed", "9" * 20),
    ],
)
def test_values_out_of_range_are_usage_errors(data, tmp_path, option, value):
    result = invoke(data, "-o", tmp_path / "lora", *options(), option, value)
    assert result.exit_code == 2, result.output
    assert option in result.stderr
    assert not (tmp_path / "lora").exists()


def test_nothing_was_curated(tmp_path):
    run = Run.create(tmp_path / "run")
    result = invoke(run.path, *options())
    assert result.exit_code == 1
    assert "run `t2i-spatial curate` first" in result.stderr


def test_too_little_was_curated_and_the_filters_are_named(run):
    metadata = run.path / "curated" / "train" / "metadata.jsonl"
    metadata.write_text("\n".join(metadata.read_text().splitlines()[:2]) + "\n")
    rows = [{"prompt_id": str(k), "sample": 0, "kept": False, "filter": "margin"} for k in range(7)]
    rows += [{"prompt_id": "x", "sample": 0, "kept": False, "filter": "blur"}]
    rows += [{"prompt_id": "y", "sample": 0, "kept": True}]
    pl.DataFrame(rows, schema=SELECTION).write_parquet(run.path / "selection.parquet")
    result = invoke(run.path, *options())
    assert result.exit_code == 1
    assert "has 2 images; 4 are the least to train on" in result.stderr
    assert "of 9 candidates the filters removed: margin 7, blur 1" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    shutil.rmtree(run.path / "curated")
    result = invoke(run.path, *options())
    assert "nothing was kept to train on" in result.stderr
    assert "of 9 candidates the filters removed: margin 7, blur 1" in result.stderr


def test_every_setting_has_an_option_with_the_same_default():
    command = main.get_command(None, "finetune")
    defaults = {option.name: option.default for option in command.params}
    for name, field in FinetuneSettings.model_fields.items():
        assert name in defaults
        if isinstance(field.default, (int, float, str)) and not isinstance(field.default, bool):
            assert defaults[name] == field.default


def test_the_learning_rate_follows_the_model_and_is_recorded():
    assert FinetuneSettings().rate == 2e-3
    assert FinetuneSettings(model="someone/sdxl").rate == 1e-4
    assert FinetuneSettings(learning_rate=0.5).plan()["learning_rate"] == 0.5
    assert FinetuneSettings().plan() == FinetuneSettings(learning_rate=2e-3).plan()


def test_an_interrupt_after_the_last_step_is_resumed_too(data, tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    arguments = [data, "-o", tmp_path / "lora", *options()]
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "save_weights", interrupted)
        assert invoke(*arguments).exit_code == 130
    result = invoke(*arguments, "--resume")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 steps on 6 images, ")
