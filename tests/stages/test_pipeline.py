from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.run import Run
from t2i_spatial.stages.config import load_config


def _config(tmp_path, text, name="config.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_yaml_and_toml_say_the_same(tmp_path):
    yaml = _config(tmp_path, "output: out\nprompts: {limit: 3}\ngenerate: {steps: 4}\n")
    toml = _config(
        tmp_path, 'output = "out"\n[prompts]\nlimit = 3\n[generate]\nsteps = 4\n', "config.toml"
    )
    assert load_config(yaml) == load_config(toml)
    assert load_config(yaml, ["generate.steps=9"]).generate.steps == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output: x\ngenerate: {stepz: 4}", "unknown key 'generate.stepz'; did you mean 'steps'"),
        ("output: x\nscor: {}", "unknown key 'scor'; did you mean 'score'"),
        ("prompts: {}", "'output' is missing"),
        ("output: x\nprompts: {limit: 0}", "prompts.limit: .* greater than or equal to 1"),
        ("just text", "must be a mapping"),
        ("a: [", "is not YAML: .* line 1, column 5"),
    ],
)
def test_a_wrong_config_names_the_key(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_config(_config(tmp_path, text))


def test_a_broken_override_is_named(tmp_path):
    path = _config(tmp_path, "output: x")
    with pytest.raises(InputError, match="not of the form"):
        load_config(path, ["generate.steps"])
    with pytest.raises(InputError, match="not a section"):
        load_config(path, ["output.steps=3"])


@pytest.mark.timeout(600)
def test_demo_ends_with_a_report_and_a_tuned_model_and_resumes(tmp_path):
    arguments = ["-q", "demo", "-o", str(tmp_path / "demo"), "--prompts", "4", "--samples", "2"]
    first = CliRunner().invoke(main, [*arguments, "--steps", "2"])
    assert first.exit_code == 0, first.output
    assert "visor: 8 of 8 images scored" in first.stdout
    assert "VISOR_cond" in first.stdout
    run = Run.open(tmp_path / "demo")
    assert (run.path / "report.html").stat().st_size > 10_000
    assert run.has("selection.parquet")
    assert "round 1: trained on" in first.stdout
    assert run.has("improve/round-1/lora/pytorch_lora_weights.safetensors")
    assert run.has("improve/improve.png")
    pictures = {p.name: p.read_bytes() for p in (run.path / "images").iterdir()}
    assert len(pictures) == 8
    again = CliRunner().invoke(main, [*arguments, "--steps", "2", "--json"])
    assert again.exit_code == 0, again.output
    result = json.loads(again.stdout)
    assert result["scores"]["visor"]["OA"]["n_images"] == 8
    before = result["improve"]["rounds"][0]["numbers"]["OA"]["before"]
    assert before == result["scores"]["visor"]["OA"]["value"]
    assert {p.name: p.read_bytes() for p in (run.path / "images").iterdir()} == pictures
    other = CliRunner().invoke(main, [*arguments, "--steps", "0", "--seed", "1"])
    assert other.exit_code == 1
    assert "was made with another plan for 'generate'" in other.stderr


def test_a_folder_of_others_runs_from_a_config_and_missing_images_fail(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("0_0.png", "0_1.png", "1_0.png"):
        Image.new("RGB", (48, 32), "white").save(folder / name)
    (folder / "1_1.png").write_bytes(b"not an image")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        '{"id": "0", "text": "a cat to the left of a dog"}\n'
        '{"id": "1", "text": "a car above a boat"}\n'
        '{"id": "2", "text": "an apple below a cake"}\n'
    )
    config = _config(
        tmp_path,
        f"output: {tmp_path / 'run'}\nprompts: {{source: {prompts}}}\n"
        f"images: {{folder: {folder}, samples: 2}}\ncurate: null\n"
        "detect: {detector: bundled}\n",
    )
    result = CliRunner().invoke(main, ["-q", "run", str(config)])
    assert result.exit_code == 1
    assert "3 of 6 images scored" in result.stdout
    assert "3 of 6 images have no score" in result.stderr
    statuses = Run.open(tmp_path / "run").images()["status"].to_list()
    assert sorted(statuses) == ["image_missing"] * 2 + ["image_unreadable"] + ["scored"] * 3
    allowed = CliRunner().invoke(
        main, ["-q", "run", str(config), "--set", "score.allow_missing=true"]
    )
    assert allowed.exit_code == 0, allowed.output


def test_curation_that_keeps_nothing_still_leaves_a_report(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (32, 32), "white").save(folder / "0_0.png")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "0", "text": "a cat above a dog"}\n')
    config = _config(
        tmp_path,
        f"output: {tmp_path / 'run'}\nprompts: {{source: {prompts}}}\n"
        f"images: {{folder: {folder}}}\ncurate: {{}}\n"
        "detect: {detector: bundled}\n",
    )
    result = CliRunner().invoke(main, ["-q", "run", str(config)])
    assert result.exit_code == 1
    assert "what each filter removed" in result.stderr
    assert (tmp_path / "run" / "report.html").exists()
