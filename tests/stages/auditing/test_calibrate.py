import json

import numpy as np
import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main as cli
from t2i_spatial.errors import InputError
from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.run import Run
from t2i_spatial.stages.auditing.calibrate import calibrate_run, read_settings, write_settings
from t2i_spatial.stages.auditing.pick import pick_run
from t2i_spatial.stages.auditing.settings import PickSettings
from t2i_spatial.stages.score import import_detections, score_run
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt
from tests.stages.auditing.labelled_run import label_picks, make_run


@pytest.fixture
def doubtful(tmp_path):
    """Boxes below 0.5 are imagined, and the protocol takes all above 0.1."""
    rng = np.random.default_rng(0)
    prompts = [relation_prompt("cat", "left of", "dog", str(k)) for k in range(120)]
    images, truth = {}, {}
    for prompt in prompts:
        right = bool(rng.random() < 0.6)
        truth[prompt.id, 0] = right
        score = 0.55 + 0.4 * rng.random() if right else 0.15 + 0.3 * rng.random()
        images[prompt.id, 0] = detections(
            box("cat", 20, 100, 200, 300, score), box("dog", 300, 100, 480, 300, 0.9)
        )
    run = Run.create(tmp_path / "run")
    import_detections(run, prompts_to_table(prompts), detection_rows(images), "boxes.json")
    score_run(run, [PROTOCOLS["visor"](), PROTOCOLS["spatial"]()])
    pick_run(run, PickSettings(number=80))
    label_picks(run, truth)
    return run


def test_threshold_is_found_and_used_only_when_told(doubtful, tmp_path):
    found = calibrate_run(doubtful, "visor")
    (said,) = found.settings
    assert 0.44 < float(said.removeprefix("visor.threshold=")) < 0.56
    assert found.before < 0.75 < 0.97 < found.cross_validated
    assert found.better
    file = tmp_path / "mine.json"
    write_settings(found, file)
    runner, place = CliRunner(), str(doubtful.path)
    plain = runner.invoke(cli, ["score", place, "-p", "visor", "--json"])
    assert "calibrated" not in json.loads(plain.stdout)["visor"]
    fitted = runner.invoke(cli, ["score", place, "-p", "visor", "--set-file", str(file), "--json"])
    summary = json.loads(fitted.stdout)["visor"]
    assert summary["calibrated"]["name"] == "mine"
    assert summary["calibrated"]["settings"] == [said]
    assert doubtful_settings(doubtful) == float(said.rpartition("=")[2])
    assert "fitted to labels of people" in fitted.stderr
    other = runner.invoke(cli, ["score", place, "-p", "geneval", "--set-file", str(file)])
    assert other.exit_code == 1
    assert "sets nothing of geneval" in other.stderr


def doubtful_settings(run):
    return Run.open(run.path).plan("score")["visor"]["settings"]["threshold"]


def test_nothing_is_written_where_nothing_is_gained(tmp_path):
    run, truth = make_run(tmp_path / "run")
    pick_run(run, PickSettings(number=80))
    label_picks(run, truth)
    found = calibrate_run(run, "visor")
    assert not found.better
    with pytest.raises(InputError, match="keep them"):
        write_settings(found, tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


def test_what_cannot_be_calibrated(doubtful, tmp_path):
    with pytest.raises(InputError, match="not scored by 'geneval'"):
        calibrate_run(doubtful, "geneval")
    file = tmp_path / "x.json"
    file.write_text("{}")
    with pytest.raises(InputError, match="no settings file"):
        read_settings(file, ["visor"])
    score_run(doubtful, [PROTOCOLS["t2i_compbench_numeracy"]()])
    with pytest.raises(InputError, match="no threshold to fit"):
        calibrate_run(doubtful, "t2i_compbench_numeracy")
