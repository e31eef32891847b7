"""The command line speaks where silence would cost hours or look like a result."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from t2i_spatial.cli.main import main
from t2i_spatial.detectors.vocabularies import read_vocabulary
from t2i_spatial.errors import InputError
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.settings import DEFAULT_PROTOCOLS
from t2i_spatial.stages.config import load_config
from t2i_spatial.stages.pipeline import check_pipeline
from t2i_spatial.stages.score import make_protocols
from t2i_spatial.stages.stage_settings import CurateSettings, ScoreSettings
from t2i_spatial.tables import IMAGES, prompts_to_table
from tests.report.drawn_run import drawn_run


def invoke(*arguments, **options):
    return CliRunner().invoke(main, [str(a) for a in arguments], **options)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "images"
    place.mkdir()
    Image.new("RGB", (32, 32), "white").save(place / "0_0.png")
    (tmp_path / "prompts.jsonl").write_text('{"id": "0", "text": "a cat above a dog"}\n')
    return place


@pytest.fixture
def prompts(tmp_path):
    return tmp_path / "prompts.jsonl"


def config(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(f"output: {tmp_path / 'run'}\n{text}")
    return path


# --- the bundled detector is for its own drawings, unless it is asked for by name


def test_images_of_others_need_a_detector_by_name(tmp_path, folder, prompts):
    common = ("--images", folder, "--prompts", prompts)
    for arguments in (
        ("score", *common, "-o", tmp_path / "run"),
        ("detect", tmp_path / "run", *common),
        ("run", config(tmp_path, f"prompts: {{source: {prompts}}}\nimages: {{folder: {folder}}}")),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 1
        assert "no detector is named" in result.stderr and "--detector" in result.stderr
        assert not (tmp_path / "run").exists()
    result = invoke("-q", "score", *common, "-o", tmp_path / "run", "--detector", "bundled")
    assert result.exit_code == 0, result.output


def test_images_of_another_generator_need_a_detector_by_name(tmp_path):
    text = "generate: {model: stabilityai/stable-diffusion-2-1}"
    with pytest.raises(InputError, match="not images of stabilityai/stable-diffusion-2-1"):
        check_pipeline(load_config(config(tmp_path, text)))
    check_pipeline(load_config(config(tmp_path, text + "\ndetect: {detector: bundled}")))
    check_pipeline(load_config(config(tmp_path, "generate: {model: bundled}")))


def test_a_run_remembers_which_generator_made_it(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("generate", {"model": "someone/else"})
    run.finish("generate")
    result = invoke("detect", run.path)
    assert result.exit_code == 1 and "not images of someone/else" in result.stderr


def test_nouns_that_the_bundled_detector_does_not_know_are_told(tmp_path, folder, prompts):
    prompts.write_text('{"id": "0", "text": "a walrus above a dog"}\n')
    common = ("--images", folder, "--prompts", prompts, "--detector", "bundled")
    result = invoke("score", *common, "-o", tmp_path / "run")
    assert "1 of 1 prompts name objects that the bundled models have never seen" in result.stderr
    assert "walrus" in result.stderr


def test_a_prompt_set_that_is_not_that_of_the_images_is_told(tmp_path, folder, prompts):
    prompts.write_text("".join(f'{{"id": "{k}", "text": "a cat"}}\n' for k in range(30)))
    common = ("--images", folder, "--prompts", prompts, "--detector", "bundled")
    result = invoke("detect", tmp_path / "run", *common)
    assert "1 of 30 prompts have an image; all of the others count as missing" in result.stderr


# --- names are resolved before anything is made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("score: {protocols: [visr]}", "did you mean 'visor'"),
        ("score: {protocols: []}", "score.protocols is empty"),
        ("score: {settings: [visor.nothing=1]}", "no setting"),
        ("score: {number: OA}", "needs score.precision"),
        ("score: {precision: 0.1, number: OAA}", "visor has no number 'OAA'"),
        ("detect: {detector: nothing}", "no detector 'nothing'"),
        ("detect: {detector: 'precomputed:/nowhere.json'}", "no such file of detections"),
        ("detect: {color: blue}", "unknown colour method"),
        ("curate: {export: imagefoldr}", "did you mean 'imagefolder'"),
        ("curate: {filters: [corect]}", "did you mean 'correct'"),
        ("curate: {protocol: geneval}", "score.protocols does not name"),
        ("curate: {second: other}", "no effect without the filter 'agreement'"),
        ("curate: {columns: x.csv}", "no effect without the filter 'column'"),
        ("curate: {pairs: true, min_margin: 0.1}", "no effect with pairs of boxes"),
        ("finetune: {}", "finetune needs a curate section"),
        ("generate: {}\nimages: {folder: x}", "not both"),
    ],
)
def test_a_wrong_name_stops_a_run_before_its_first_image(tmp_path, text, message):
    result = invoke("run", config(tmp_path, text))
    assert result.exit_code == 1, result.output
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_improve_resolves_its_detector_first(tmp_path):
    result = invoke("improve", "-o", tmp_path / "loop", "--detector", "nothing")
    assert result.exit_code == 1 and "no detector 'nothing'" in result.stderr
    result = invoke("improve", "-o", tmp_path / "loop", "--model", "someone/else")
    assert result.exit_code == 1 and "no detector is named" in result.stderr
    assert not (tmp_path / "loop").exists()


# --- options without effect


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--detector", "bundled"), "--detector has no effect"),
        (("--threshold", "0.2"), "--threshold has no effect"),
        (("--overwrite",), "--overwrite has no effect"),
        (("--number", "OA"), "--number needs --precision"),
        (("--coco-images", "PROMPTS"), "--coco-images has no effect"),
        (("--precision", "0.1", "--resamples", "200"), "--resamples has no effect"),
        (("--precision", "0.1", "-p", "visor", "-p", "spatial"), "one --protocol"),
    ],
)
def test_score_refuses_options_that_change_nothing(tmp_path, prompts, folder, arguments, message):
    run = Run.create(tmp_path / "run")
    result = invoke("score", run.path, *(prompts if a == "PROMPTS" else a for a in arguments))
    assert result.exit_code == 2 and message in result.stderr


def test_curate_refuses_options_that_change_nothing(tmp_path):
    run = drawn_run(tmp_path / "run")
    result = invoke("curate", run.path, "--second", "other")
    assert result.exit_code == 1 and "filter 'agreement'" in result.stderr
    result = invoke("curate", run.path, "--pairs", "--duplicate-distance", "2")
    assert result.exit_code == 1 and "'duplicate_distance' has no effect" in result.stderr


def test_compare_refuses_options_that_change_nothing(tmp_path):
    for arguments in (("--margin", "0.1"), ("--overwrite",)):
        result = invoke("compare", tmp_path, tmp_path, *arguments)
        assert result.exit_code == 2 and f"{arguments[0]} has no effect" in result.stderr


# --- nothing found, nothing destroyed


def test_detect_that_looks_at_no_image_fails(tmp_path):
    run = Run.create(tmp_path / "run")
    run.begin("generate", {"model": "bundled"})
    run.write_prompts(prompts_to_table([Prompt("0", "a cat")]))
    lost = {"prompt_id": "0", "status": "image_missing", "reason": "gone"}
    run.write_images(pl.DataFrame([{**lost, "sample": k} for k in range(2)], schema=IMAGES))
    run.finish("generate")
    result = invoke("-q", "detect", run.path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["expected"] == 2
    assert "none of the 2 expected images" in result.stderr


@pytest.mark.parametrize("name", ["run.json", "summary.json", "report.txt", "images/0_0.png"])
def test_a_report_does_not_overwrite_a_run(tmp_path, name):
    run = drawn_run(tmp_path / "run")
    target = run.path / name
    before = target.read_bytes() if target.exists() else None
    (tmp_path / "link.html").symlink_to(target)
    for output in (target, tmp_path / "link.html"):
        result = invoke("report", run.path, "-o", output)
        assert result.exit_code == 1 and "run's own files" in result.stderr
        assert (target.read_bytes() if target.exists() else None) == before


def test_a_report_can_go_to_stdout(tmp_path):
    run = drawn_run(tmp_path / "run")
    result = invoke("report", run.path, "-o", "-")
    assert result.exit_code == 0 and result.stdout.startswith("<!doctype html>")


@pytest.mark.parametrize("text", ["missing.txt", "lists/missing", "./cats"])
def test_a_vocabulary_file_that_is_not_there_is_no_noun(text):
    with pytest.raises(InputError, match="no such vocabulary file"):
        read_vocabulary(text)


def test_one_default_everywhere():
    import inspect

    import t2i_spatial as t2i

    assert ScoreSettings().protocols == DEFAULT_PROTOCOLS
    assert inspect.signature(t2i.score).parameters["protocols"].default == DEFAULT_PROTOCOLS
    assert CurateSettings().protocol == DEFAULT_PROTOCOLS[0]


def test_former_names_of_config_keys_are_told_and_taken(tmp_path, capsys):
    settings = load_config(config(tmp_path, "curate: {}\nfinetune: {precision: bf16}"))
    assert settings.finetune.dtype == "bfloat16"
    assert settings.finetune.plan()["precision"] == "bf16"
    assert "`precision` is now called `dtype`" in capsys.readouterr().err


# --- streams and quantities


def test_a_folder_called_minus_is_no_input_and_no_run(tmp_path, monkeypatch):
    """A "-" is a stream wherever it stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").mkdir()
    (tmp_path / "-" / "1.txt").write_text("a bird")
    line = json.dumps({"id": "0", "text": "a cat left of a dog"})
    result = CliRunner().invoke(main, ["prompts", "convert", "-"], input=line)
    assert result.exit_code == 0 and "a cat left of a dog" in result.stdout, result.output
    (tmp_path / "p.jsonl").write_text(line)
    found = {"prompt_id": "0", "sample": 0, "width": 9, "height": 9, "detections": [
        {"label": "cat", "score": 0.9, "box": [0, 0, 1, 1]}]}  # fmt: skip
    (tmp_path / "d.jsonl").write_text(json.dumps(found))
    result = invoke("score", "--detections", "d.jsonl", "--prompts", "p.jsonl", "-o", "-")
    assert result.exit_code == 1 and "cannot go to standard output" in result.stderr
    assert sorted(path.name for path in (tmp_path / "-").iterdir()) == ["1.txt"]


def test_more_images_than_a_run_may_have_are_refused_before_anything_is_made(tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"output: {tmp_path}/run\nprompts: {{source: sr2d}}\ngenerate: {{samples: 100000}}\n"
    )
    result = invoke("run", tmp_path / "c.yaml")
    assert result.exit_code == 1
    assert "31,680 prompts with 100,000 samples are 3,168,000,000 images" in result.stderr
    assert not (tmp_path / "run" / "images").exists()


@pytest.mark.parametrize("value", ["0", "-1", "true", "1e99"])
def test_numbers_of_things_are_whole_and_above_none(value):
    with pytest.raises(InputError, match="max_objects must be"):
        make_protocols(["geneval"], [f"geneval.max_objects={value}"])
