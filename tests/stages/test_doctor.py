"""`doctor` says what is there, and fails when a detector is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from t2i_spatial.bundled.scenes import render, sample_scene
from t2i_spatial.cli.main import main
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages.detect import DetectSettings, detect_run
from t2i_spatial.stages.import_images import import_images
from tests.detectors import tiny


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_healthy_installation() -> None:
    result = CliRunner().invoke(main, ["doctor", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "bundled: ok on 4 drawings" in result.stdout
    assert "offline switch on" in result.stdout
    assert "0 models" in result.stdout


def test_wrong_detectors_are_loud(tmp_path: Path) -> None:
    model = str(tiny.owl(tmp_path / "owl"))
    arguments = ["doctor", "--detector", model, "--detector", "no/such", "--device", "cpu"]
    plain = CliRunner().invoke(main, arguments)
    assert plain.exit_code == 1
    assert f"{model}: FAILED on 4 drawings" in plain.stdout
    assert "no/such: FAILED, 'no/such' cannot be loaded" in plain.stdout
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert found["healthy"] is False
    assert [drawing["passed"] for drawing in found["canaries"][model]["drawings"]] == [False] * 4
    assert "torch" in found["packages"]


def test_a_run_of_the_bundled_detector_carries_its_canary_and_decides_relations(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    folder = tmp_path / "images"
    folder.mkdir()
    prompts, truth = [], {}
    for number, relation in enumerate(["left", "right", "above", "below"] * 3):
        scene = sample_scene(rng, nouns=("cat", "bus"), relation=relation)
        pixels, boxes = render(scene, 128)
        Image.fromarray(pixels).save(folder / f"{number}_0.png")
        truth[str(number)] = boxes
        spec = SceneSpec((ObjectSpec("cat"), ObjectSpec("bus")))
        prompts.append(Prompt(str(number), f"a cat {relation} a bus", scene=spec))
    run = Run.create(tmp_path / "run")
    import_images(run, folder, prompts)
    detect_run(run, DetectSettings(device="cpu"))
    stage = run.manifest["stages"]["detect"]
    assert stage["record"]["canary"]["passed"] is True
    assert stage["plan"]["detector"] == "bundled"
    right = 0
    for row in run.detections().iter_rows(named=True):
        best = {}
        for found in reversed(row["detections"]):
            best[found["label"]] = np.array(found["box"])
        boxes = truth[row["prompt_id"]]
        if set(best) == {"cat", "bus"}:
            gaps = [np.abs(best[n] - boxes[k]).max() for k, n in enumerate(("cat", "bus"))]
            right += max(gaps) < 20
    assert right >= 11
