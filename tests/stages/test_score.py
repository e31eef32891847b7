from __future__ import annotations

import json
import shutil
import subprocess
import sys

import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from t2i_spatial.cli.main import main
from t2i_spatial.errors import IncompleteRunError, InputError, PlanMismatchError
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.report import render_report
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages.compare import compare_runs
from t2i_spatial.stages.detect import DetectSettings, detect_run
from t2i_spatial.stages.import_images import import_images
from t2i_spatial.stages.score import complete, make_protocols, score_run
from t2i_spatial.tables import (
    DETECTOR_FAILED,
    IMAGE_MISSING,
    IMAGE_UNREADABLE,
    IMAGES,
    SCORED,
    prompts_to_table,
)
from tests.builders import box, detection_rows, detections, relation_prompt
from tests.limits import HANGS

PROMPTS = [relation_prompt("cat", "left of", "dog", i) for i in ("a", "b")]
TABLE = prompts_to_table(PROMPTS)
RIGHT = detections(box("cat", 0, 0, 50, 50), box("dog", 100, 0, 150, 50))
WRONG = detections(box("dog", 0, 0, 50, 50), box("cat", 100, 0, 150, 50))
FULL = {("a", 0): RIGHT, ("a", 1): RIGHT, ("b", 0): WRONG, ("b", 1): RIGHT}


@pytest.fixture
def prompt_file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(p.to_dict()) + "\n" for p in PROMPTS))
    return path


def detection_file(tmp_path, found, name="found.parquet"):
    path = tmp_path / name
    detection_rows(found).write_parquet(path)
    return path


def run_cli(*arguments):
    return CliRunner().invoke(main, ["score", *map(str, arguments)])


def without(*keys):
    return {key: found for key, found in FULL.items() if key not in keys}


def make_run(tmp_path, found, statuses=()):
    run = Run.create(tmp_path / "run")
    run.write_prompts(TABLE)
    run.write_detections(detection_rows(found, dict(statuses)))
    return run


# -- what is expected ---------------------------------------------------------------------------


def test_every_prompt_has_every_sample_in_the_order_of_the_prompts():
    found = complete(detection_rows({("b", 1): RIGHT, ("b", 0): RIGHT}), TABLE)
    assert found.select("prompt_id", "sample", "status").rows() == [
        ("a", 0, IMAGE_MISSING),
        ("a", 1, IMAGE_MISSING),
        ("b", 0, SCORED),
        ("b", 1, SCORED),
    ]
    assert found["reason"][0] == "the detections do not contain this image"


def test_samples_may_be_numbered_from_one_and_more_may_be_expected():
    rows = detection_rows({("a", 1): RIGHT, ("b", 2): RIGHT})
    assert complete(rows, TABLE)["sample"].to_list() == [1, 2, 1, 2]
    assert len(complete(rows, TABLE, samples=4)) == 8


def test_fewer_samples_leave_the_others_out(capsys):
    found = complete(detection_rows(FULL), TABLE, samples=1)
    assert found.select("prompt_id", "sample").rows() == [("a", 0), ("b", 0)]
    assert "2 images beyond 1 per prompt" in capsys.readouterr().err


def test_the_images_of_a_run_say_what_is_expected_and_why_it_is_missing():
    images = pl.DataFrame(
        [
            {"prompt_id": "a", "sample": 0, "status": SCORED},
            {"prompt_id": "a", "sample": 1, "status": IMAGE_UNREADABLE, "reason": "truncated"},
            {"prompt_id": "b", "sample": 0, "status": SCORED},
        ],
        schema=IMAGES,
    )
    found = complete(detection_rows({("a", 0): RIGHT}), TABLE, images=images)
    assert found["status"].to_list() == [SCORED, IMAGE_UNREADABLE, DETECTOR_FAILED]
    assert found["reason"].to_list()[1:] == ["truncated", "no detector has looked at this image"]
    with pytest.raises(InputError, match="detect again"):
        complete(detection_rows({("b", 5): RIGHT}), TABLE, images=images)


def test_images_of_other_prompts_and_doubled_images_are_refused():
    with pytest.raises(InputError, match=r"1 of 2 images belong to no prompt .*'z'"):
        complete(detection_rows({("a", 0): RIGHT, ("z", 0): RIGHT}), TABLE)
    rows = detection_rows({("a", 0): RIGHT})
    with pytest.raises(InputError, match=r"same image twice: \('a', 0\)"):
        complete(pl.concat([rows, rows]), TABLE)


# -- scoring a run ------------------------------------------------------------------------------


def test_a_run_gets_verdicts_and_a_summary(tmp_path):
    run = make_run(tmp_path, FULL)
    scores = score_run(run, make_protocols(["visor", "geneval"]))
    scores.require_complete()
    assert json.loads((run.path / "summary.json").read_text()) == scores.summary
    assert scores.summary["visor"]["OA"]["value"] == 1
    assert scores.summary["visor"]["VISOR_cond"]["value"] == 0.75
    assert Run.open(run.path).verdicts("visor")["correct"].to_list() == [True, True, False, True]
    assert len(run.verdicts()) == 8
    assert run.plan("score")["geneval"]["settings"]["threshold"] == 0.3
    assert run.is_finished("score")


def test_a_broken_summary_is_written_anew(tmp_path, capsys):
    """It is made of tables that are there: a run must not be lost for scoring by it."""
    run = make_run(tmp_path, FULL)
    score_run(run, make_protocols(["visor"]))
    whole = (run.path / "summary.json").read_text()
    for broken in (whole[: len(whole) // 2], "", "[1]"):
        (run.path / "summary.json").write_text(broken)
        score_run(run, make_protocols(["visor"]))
        assert (run.path / "summary.json").read_text() == whole
    assert capsys.readouterr().err.count("it is written anew") == 2


def test_missing_images_lower_the_score_and_are_not_silent(tmp_path):
    run = make_run(tmp_path, without(("a", 1)), {("a", 1): IMAGE_MISSING})
    scores = score_run(run, make_protocols(["visor"]))
    assert scores.summary["visor"]["VISOR_uncond"]["value"] == 2 / 4
    assert (run.path / "summary.json").exists()
    with pytest.raises(IncompleteRunError, match="1 of 4 images have no score"):
        scores.require_complete()
    allowed = score_run(run, make_protocols(["visor"]), Intervals(allow_missing=True))
    assert allowed.summary["visor"]["VISOR_uncond"]["value"] == 2 / 3


def test_a_verdict_that_a_protocol_cannot_give_is_missing_too(tmp_path):
    prompts = [relation_prompt("cat", "behind", "dog", "a")]
    run = Run.create(tmp_path / "run")
    run.write_prompts(prompts_to_table(prompts))
    run.write_detections(detection_rows({("a", 0): RIGHT}))
    scores = score_run(run, make_protocols(["t2i_compbench_3d"]))
    assert scores.n_scored == scores.n_expected == 1
    with pytest.raises(IncompleteRunError, match="no score by t2i_compbench_3d"):
        scores.require_complete()


def test_scores_of_other_protocols_stay_until_the_detections_change(tmp_path, capsys):
    run = make_run(tmp_path, FULL)
    score_run(run, make_protocols(["visor"]))
    score_run(run, make_protocols(["geneval"]))
    assert set(json.loads((run.path / "summary.json").read_text())) == {"visor", "geneval"}
    run.write_detections(detection_rows(dict.fromkeys(FULL, WRONG)))
    score_run(run, make_protocols(["geneval"]))
    assert set(json.loads((run.path / "summary.json").read_text())) == {"geneval"}
    assert not run.has("verdicts/visor.parquet")
    assert "dropped the visor scores" in capsys.readouterr().err


def test_settings_are_checked():
    protocol = make_protocols(["geneval"], ["geneval.threshold=0.5", "geneval.max_objects=9"])[0]
    assert (protocol.threshold, protocol.max_objects) == (0.5, 9)
    for text, message in (
        ("geneval.treshold=1", "did you mean 'threshold'"),
        ("visor.threshold=1", "known: geneval"),
        ("geneval.max_objects=many", "must be a int"),
        ("geneval.threshold=nan", r"geneval.threshold must be a number in \[0, 1\], got nan"),
        ("threshold=1", "PROTOCOL.KEY=VALUE"),
    ):
        with pytest.raises(InputError, match=message):
            make_protocols(["geneval"], [text])
    with pytest.raises(InputError, match="did you mean 'visor'"):
        make_protocols(["vizor"])


def test_what_a_protocol_does_not_apply_to_is_said(tmp_path, capsys):
    run = make_run(tmp_path, FULL)
    scores = score_run(run, make_protocols(["layout"]))
    assert scores.summary["layout"]["iou"]["value"] is None
    assert "layout applies to none of these prompts" in capsys.readouterr().err


# -- the command --------------------------------------------------------------------------------


def test_detections_are_scored_without_a_run_directory(tmp_path, prompt_file):
    found = detection_file(tmp_path, FULL)
    result = run_cli("--detections", found, "--prompts", prompt_file, "-p", "visor")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "visor: 4 of 4 images scored"
    assert any(line.split()[:2] == ["VISOR_cond", "75.0"] for line in lines)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.parquet", "prompts.jsonl"]


def test_json_output_is_the_summary(tmp_path, prompt_file):
    found = detection_file(tmp_path, FULL)
    out = tmp_path / "out"
    result = run_cli(
        "--detections", found, "--prompts", prompt_file, "--output", out, "--json",
        "-p", "visor", "-p", "geneval",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary == json.loads((out / "summary.json").read_text())
    assert set(summary["visor"]["OA"]) == {
        "value", "low", "high", "n_prompts", "n_images", "n_expected",
    }  # fmt: skip
    again = run_cli(out, "--json", "-p", "visor", "-p", "geneval")
    assert json.loads(again.stdout) == summary


def test_missing_images_end_with_an_error_after_everything_is_written(tmp_path, prompt_file):
    found = detection_file(tmp_path, without(("b", 1)))
    out = tmp_path / "out"
    arguments = ("--detections", found, "--prompts", prompt_file, "-p", "visor")
    result = run_cli(*arguments, "--output", out)
    assert result.exit_code == 1
    assert "visor: 3 of 4 images scored (1 image_missing)" in result.stdout
    assert "error: 1 of 4 images have no score" in result.stderr
    assert (out / "verdicts" / "visor.parquet").exists()
    assert run_cli(*arguments, "--allow-missing").exit_code == 0


def test_an_output_of_other_detections_is_refused_unless_overwritten(tmp_path, prompt_file):
    out = tmp_path / "out"
    first = detection_file(tmp_path, FULL)
    second = detection_file(tmp_path, dict.fromkeys(FULL, WRONG), "other.parquet")
    arguments = ("--prompts", prompt_file, "--output", out, "-p", "visor")
    assert run_cli("--detections", first, *arguments).exit_code == 0
    refused = run_cli("--detections", second, *arguments)
    assert refused.exit_code == 1 and "another plan for 'detect'" in refused.stderr
    assert run_cli("--detections", second, *arguments, "--overwrite").exit_code == 0
    assert json.loads((out / "summary.json").read_text())["visor"]["VISOR_cond"]["value"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of RUN, --images, --detections or --answer-file"),
        (("RUN", "--prompts", "x"), "RUN has its own prompts"),
        (("--detections", "FILE"), "--detections needs --prompts"),
        (("--images", "RUN"), "--images needs --output"),
        (("RUN", "--samples", "0"), "0 is not in the range"),
    ],
)
def test_usage_errors_exit_with_two(tmp_path, prompt_file, arguments, message):
    named = {"RUN": tmp_path, "FILE": prompt_file}
    result = run_cli(*[named.get(a, a) for a in arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_user_errors_are_one_line(tmp_path, prompt_file):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt_id": "a", "sample": 0, "detections": []}\n{oops\n')
    result = run_cli("--detections", broken, "--prompts", prompt_file)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "line 2: not JSON" in result.stderr
    unknown = run_cli("--detections", broken, "--prompts", prompt_file, "-p", "vizor")
    assert "unknown protocol 'vizor'; did you mean 'visor'" in unknown.stderr
    assert run_cli(tmp_path).exit_code == 1


def test_scoring_stored_detections_imports_no_torch(tmp_path, prompt_file):
    found = detection_file(tmp_path, FULL)
    code = (
        "import sys\n"
        "from t2i_spatial.cli.main import main\n"
        f"try: main(['score', '--detections', {str(found)!r}, '--prompts', {str(prompt_file)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'diffusers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_metrics_loads_nothing_heavy():
    code = (
        "import sys, t2i_spatial.metrics\n"
        "assert not {'torch', 'scipy', 'skimage', 'polars'} & set(sys.modules)\n"
        "from t2i_spatial.metrics import VISOR, relation_scores\n"
        "assert not {'torch', 'scipy', 'skimage'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS
    )
    assert done.returncode == 0, done.stderr


def test_killed_while_scoring_with_other_settings_nothing_passes_for_one_run(
    tmp_path, prompt_file, monkeypatch, capsys
):
    """Wherever the kill falls, the scores cannot be read, and go on without the half-made ones."""
    stored = detection_file(tmp_path, FULL)
    out = tmp_path / "out"
    run_cli("--detections", stored, "--prompts", prompt_file, "-o", out,
            "-p", "visor", "-p", "spatial", "-p", "geneval")  # fmt: skip
    run = Run.open(out)
    whole = {name: run.verdicts(name) for name in ("visor", "spatial", "geneval")}
    changed = make_protocols(["visor", "spatial"], ["visor.threshold=0.99"])
    write, done = Run.write_verdicts, []

    def killed(self, table, protocol):
        if done:
            raise KeyboardInterrupt
        done.append(protocol)
        write(self, table, protocol)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_verdicts", killed)
        with pytest.raises(KeyboardInterrupt):
            score_run(run, changed)
    assert done == ["visor"]
    for read in (run.verdicts, run.summary, lambda: render_report(Run.open(out))):
        with pytest.raises(InputError, match="'score' was begun and is not finished"):
            read()
    with pytest.raises(InputError, match="'score' was begun"):
        compare_runs(out, out)
    score_run(Run.open(out), make_protocols(["spatial"]))
    again = Run.open(out)
    assert set(again.summary()) == {"spatial", "geneval"}
    assert "dropped the visor scores: they were interrupted" in capsys.readouterr().err
    assert again.verdicts("geneval").equals(whole["geneval"])
    assert again.verdicts("spatial").equals(whole["spatial"])
    assert not again.has("verdicts/visor.parquet")


def test_scores_of_files_that_were_replaced_cannot_be_read(tmp_path, prompt_file):
    stored = detection_file(tmp_path, FULL)
    out = tmp_path / "out"
    run_cli("--detections", stored, "--prompts", prompt_file, "-o", out, "-p", "visor")
    run = Run.open(out)
    path = out / "detections" / "main.parquet"
    content = path.read_bytes()
    path.write_bytes(content)  # copied: another time, the same content
    assert run.summary()["visor"]
    table = run.detections()
    table[::-1].write_parquet(path)
    with pytest.raises(PlanMismatchError, match=r"main\.parquet is not the file that 'score'"):
        run.summary()
    score_run(run, make_protocols(["visor"]))
    assert run.summary()["visor"]


def test_a_prompt_file_changed_in_place_is_not_judged_by_the_old_boxes(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (64, 64)).save(pictures / "a_0.png")
    ask = [Prompt("a", "a cat", scene=SceneSpec((ObjectSpec("cat"),)))]
    settings = DetectSettings(detector="bundled")
    run = Run.create(tmp_path / "run")
    import_images(run, pictures, ask)
    detect_run(run, settings)
    score_run(run, make_protocols(["spatial"]))
    shutil.copytree(run.path, tmp_path / "copy")
    other = [Prompt("a", "a cat", scene=SceneSpec((ObjectSpec("dog"),)))]
    import_images(run, pictures, other)
    for stage in (
        lambda: score_run(run, make_protocols(["spatial"])),
        lambda: detect_run(run, settings),
    ):
        with pytest.raises(PlanMismatchError):
            stage()
    detect_run(run, settings, overwrite=True)
    score_run(run, make_protocols(["spatial"]))
    score_run(Run.open(tmp_path / "copy"), make_protocols(["spatial"]))


def test_a_sample_number_that_is_none_is_refused_before_memory_is_taken():
    rows = detection_rows({**FULL, ("b", 2_000_000_000): RIGHT})
    with pytest.raises(InputError, match="are the sample numbers those within their prompt"):
        complete(rows, TABLE)
    with pytest.raises(InputError, match="2 prompts with samples 0 to 999999999"):
        complete(detection_rows(FULL), TABLE, samples=1_000_000_000)


def test_more_boxes_than_an_image_can_show_are_refused(monkeypatch):
    monkeypatch.setattr("t2i_spatial.checks.MOST_BOXES", 2)
    assert len(complete(detection_rows(FULL), TABLE)) == 4
    many = detections(*[box("cat", k, 0, k + 9, 9) for k in range(3)])
    with pytest.raises(InputError, match=r"more than 2 boxes.*raise the threshold.*'b'"):
        complete(detection_rows({**FULL, ("b", 1): many}), TABLE)


def test_a_folder_of_images_is_imported_detected_and_scored(tmp_path, prompt_file):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a_0", "a_1", "b_0"):
        Image.new("RGB", (512, 512)).save(folder / f"{name}.png")
    (folder / "b_1.png").write_bytes(b"not a picture")
    stored = detection_file(tmp_path, FULL)
    out = tmp_path / "out"
    arguments = (
        "--images", folder, "--prompts", prompt_file, "--output", out, "-p", "visor",
        "--detector", f"precomputed:{stored}",
    )  # fmt: skip
    result = run_cli(*arguments)
    assert result.exit_code == 1
    assert "visor: 3 of 4 images scored (1 image_unreadable)" in result.stdout
    verdicts = Run.open(out).verdicts("visor")
    assert verdicts["correct"].to_list() == [True, True, False, None]
    again = run_cli(*arguments, "--allow-missing")
    assert again.exit_code == 0, again.output
