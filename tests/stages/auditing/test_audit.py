import json

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main as cli
from t2i_spatial.errors import InputError
from t2i_spatial.labels.people import questions_for, whole_question
from t2i_spatial.labels.records import Label, append_label
from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.report import render_report
from t2i_spatial.stages.auditing.audit import audit_run
from t2i_spatial.stages.auditing.compare import audited_differences, format_differences
from t2i_spatial.stages.auditing.exchange import export_labels, import_labels
from t2i_spatial.stages.auditing.labelled import read_labelled, read_picks
from t2i_spatial.stages.auditing.pick import format_plan, pick_run, plan_labels
from t2i_spatial.stages.auditing.settings import AuditSettings, PickSettings, PlanSettings
from t2i_spatial.stages.auditing.text import format_audit
from t2i_spatial.stages.score import score_run
from t2i_spatial.stages.score_table import format_table
from tests.stages.auditing.labelled_run import label_picks, make_run, prompts_of, true_rate


@pytest.fixture
def labelled(tmp_path):
    run, truth = make_run(tmp_path / "run")
    pick_run(run, PickSettings(number=100))
    label_picks(run, truth)
    return run, truth


def test_audited_number_holds_the_truth_that_the_automatic_one_misses(labelled):
    run, truth = labelled
    report = audit_run(run, AuditSettings(target="images"))
    entry = report.protocols["visor"]["numbers"]["VISOR_uncond"]
    assert entry["low"] <= true_rate(run, truth) <= entry["high"]
    assert entry["drift"]
    assert entry["automatic"] == pytest.approx(run.summary()["visor"]["VISOR_uncond"]["value"])
    assert entry["n"] == 100 < entry["worth"]
    assert set(report.protocols["visor"]["errors"]) == {"object missed"}
    reasons = {n: e.get("reason") for n, e in report.protocols["visor"]["numbers"].items()}
    assert "100 yes and 0 no" in reasons["OA"]
    assert "all images of a prompt" in reasons["VISOR_3"]
    confusion = report.protocols["visor"]["confusion"]
    assert sum(confusion.values()) == pytest.approx(1)
    assert report.protocols["visor"]["specificity"] == 1
    text = format_audit(report)
    assert "automatic number is outside" in text
    assert "object missed" in text


def test_audited_numbers_stand_beside_automatic_ones(labelled):
    run, _ = labelled
    audit_run(run)
    audited = run.summary()["visor"]["VISOR_uncond"]["audited"]
    assert audited["n"] == 100
    assert json.loads((run.path / "audit.json").read_text())["facts"]["labelled"] == 100
    again = score_run(run, [PROTOCOLS["visor"]()])
    assert again.summary["visor"]["VISOR_uncond"]["audited"] == audited
    assert "by 100 labels" in format_table(again.summary)
    assert "Audited by 100 labels" in render_report(run)


def test_what_is_refused(labelled, tmp_path):
    run, truth = labelled
    picks = read_picks(run)
    few, _ = make_run(tmp_path / "few")
    with pytest.raises(InputError, match="no labels yet"):
        audit_run(few)
    pick_run(few, PickSettings(number=60))
    keys = set(read_picks(few).select("prompt_id", "sample").rows()[:49])
    label_picks(few, truth, keys=keys)
    with pytest.raises(InputError, match="49 images are labelled, and an audit needs 50"):
        audit_run(few)
    file = run.path / "labels" / "a.jsonl"
    whole = file.read_text()
    row = json.loads(whole.splitlines()[0])
    for change, said in (
        ({"prompt_id": "other"}, "1 of 301 labels are of images that this run does not have"),
        ({"question_id": "zzz"}, "answer questions that are not asked here"),
    ):
        file.write_text(whole + json.dumps(row | change) + "\n")
        with pytest.raises(InputError, match=said):
            audit_run(run)
    file.write_text(whole)
    (run.path / "labels" / "picks.parquet").unlink()
    lines = [json.dumps(json.loads(x) | {"pi": None}) for x in whole.splitlines()]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="no probability of having been chosen"):
        audit_run(run)
    report = audit_run(run, AuditSettings(assume_uniform=True))
    assert report.first["n"] == len(picks)
    two = [json.loads(x) | {"batch": 1 + k // 3 % 2} for k, x in enumerate(whole.splitlines())]
    file.write_text("\n".join(map(json.dumps, two)) + "\n")
    with pytest.raises(InputError, match="several batches"):
        audit_run(run)


def test_images_that_changed_since(labelled):
    run, _ = labelled
    file = run.path / "labels" / "a.jsonl"
    image = run.path / json.loads(file.read_text().splitlines()[0])["image"]
    image.parent.mkdir(parents=True)
    image.write_bytes(b"another picture")
    lines = [
        json.dumps(json.loads(x) | {"image_sha256": "0" * 64})
        for x in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="1 labelled pictures are others now"):
        audit_run(run)


def test_half_answered_images_are_no_random_part(labelled):
    run, _ = labelled
    file = run.path / "labels" / "a.jsonl"
    kept = [
        x for k, x in enumerate(file.read_text().splitlines(keepends=True)) if k % 3 < 2 or k > 60
    ]
    file.write_text("".join(kept))
    report = audit_run(run)
    assert "not asked everything" in report.protocols["visor"]["numbers"]["VISOR_uncond"]["reason"]


def test_batches_add_up_and_two_annotators_are_compared(labelled):
    run, truth = labelled
    before = read_picks(run)
    picks = pick_run(run, PickSettings(number=60, picker="active", seed=3))
    assert picks["batch"].to_list() == [1] * 100 + [2] * 60
    assert picks.select("prompt_id", "sample").is_unique().all()
    assert (picks["pi"].to_numpy()[:100] > before["pi"].to_numpy()).all()
    # weights of all labels add up to about the number of images
    assert float((1 / picks["pi"]).sum()) == pytest.approx(320, rel=0.2)
    flipped = {key: not right for key, right in truth.items()}
    twice = set(picks.select("prompt_id", "sample").rows()[:40])
    label_picks(run, flipped, annotator="b", keys=twice)
    label_picks(run, truth, annotator="c", keys=set(truth) - twice)
    report = audit_run(run)
    people = report.facts["annotators"]
    assert people["raw"][0] < 0.9
    # two against one each: no majority, so people are unsure about the relation of 40 images
    entry = report.protocols["visor"]["numbers"]["VISOR_uncond"]
    assert entry["if_unsure_right"] - entry["value"] > 0.15
    assert report.protocols["visor"]["unsure"] > 0.15
    assert "cannot tell" in format_audit(report)


def test_pickers_by_relation_and_their_limits(tmp_path):
    run, _ = make_run(tmp_path / "run", n_prompts=30, protocols=("visor",))
    with pytest.raises(InputError, match="all 0 or 1"):
        pick_run(run, PickSettings(number=10, picker="active"))
    with pytest.raises(InputError, match="121 images are to be picked, 120 are left"):
        pick_run(run, PickSettings(number=121))
    score_run(run, [PROTOCOLS["spatial"]()])
    picks = pick_run(run, PickSettings(number=40, picker="stratified", per_relation=True))
    relations = picks["prompt_id"].cast(pl.Int32) % 2
    assert abs(int(relations.sum()) - 20) <= 1
    again = pick_run(run, PickSettings(number=80))
    assert len(again) == 120
    with pytest.raises(InputError, match="are left"):
        pick_run(run, PickSettings(number=1))


def test_witnesses(labelled, tmp_path):
    run, truth = labelled
    images = AuditSettings(target="images")
    alone = audit_run(run, images, save=False).protocols["visor"]["numbers"]["VISOR_uncond"]
    better, _ = make_run(tmp_path / "better", missed=0.02)
    settings = AuditSettings(target="images", witnesses=("spatial", str(better.path)))
    helped = audit_run(run, settings, save=False).protocols["visor"]["numbers"]["VISOR_uncond"]
    assert helped["error"] < 0.8 * alone["error"]
    assert helped["low"] <= true_rate(run, truth) <= helped["high"]
    with pytest.raises(InputError, match="no witness 'spatal'"):
        audit_run(run, AuditSettings(witnesses=("spatal",)))


def test_difference_of_two_runs(labelled, tmp_path):
    run, truth = labelled
    other, other_truth = make_run(tmp_path / "other", missed=0.0, seed=1)
    with pytest.raises(InputError, match="no labels"):
        audited_differences(run, other, ["visor"])
    pick_run(other, PickSettings(number=100, seed=5))
    label_picks(other, other_truth)
    found = audited_differences(run, other, ["visor"])
    entry = found["visor"]["VISOR_uncond"]
    assert entry["low"] <= true_rate(other, other_truth) - true_rate(run, truth) <= entry["high"]
    assert entry["automatic"] > entry["high"] or entry["automatic"] > entry["value"]
    assert "not audited" in format_differences(found)
    same = audited_differences(run, run, ["visor"])["visor"]["VISOR_uncond"]
    assert (same["value"], same["low"], same["high"]) == pytest.approx((0, 0, 0), abs=1e-9)


def test_plan(labelled):
    run, _ = labelled
    pilot = plan_labels(run, PlanSettings(half_width=0.08))
    assert pilot["source"] == "100 labels"
    assert pilot["labels"] < pilot["labels_without_scores"] <= 320
    assumed = plan_labels(None, PlanSettings(half_width=0.05, accuracy=0.9, rate=0.5))
    assert assumed["labels"] == 139
    assert "139 labels for ± 5.0 points" in format_plan(assumed)


def test_csv_round_trip(labelled, tmp_path):
    run, _ = labelled
    file = tmp_path / "people.csv"
    export_labels(run, "csv", file)
    before = read_labelled(run).truths
    (run.path / "labels" / "a.jsonl").unlink()
    added, path = import_labels(run, file)
    assert added == 300
    assert path.name == "people.jsonl"
    assert read_labelled(run).truths.equals(before)
    assert import_labels(run, file)[0] == 0
    text = file.read_text().splitlines()
    for row, said in (
        (text[1].replace(",yes,", ",perhaps,"), "line 2: 'perhaps' is no answer"),
        (text[1].replace("Is there a cat in the image?", "?").replace(",0,", ",0,"), ""),
        ("images/none.png,none,0,x,q,Is it?,yes,a,", "no image images/none.png"),
    ):
        file.write_text(text[0] + "\n" + row + "\n")
        if said:
            with pytest.raises(InputError, match=said):
                import_labels(run, file)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="expected the columns label and image"):
        import_labels(run, file)


def test_label_studio_round_trip(labelled, tmp_path):
    run, _ = labelled
    file = tmp_path / "tasks.json"
    export_labels(run, "label-studio", file)
    tasks = json.loads(file.read_text())
    assert len(tasks) == 300
    for task in tasks:
        task["annotations"] = [
            {"completed_by": 7, "result": [{"value": {"choices": ["Yes"]}, "type": "choices"}]}
        ]
    tasks[0]["annotations"].append({"was_cancelled": True})
    file.write_text(json.dumps(tasks))
    (run.path / "labels" / "a.jsonl").unlink()
    assert import_labels(run, file)[0] == 300
    found = read_labelled(run)
    assert found.labels["annotator"].unique().to_list() == ["7"]
    assert set(found.truths["image"]) == {"yes"}


def test_verdicts_drawn_from_strata_are_weighted(labelled, tmp_path):
    """The layout of SpatialBench-UC's audit: every stratum has its own probability."""
    run, truth = labelled
    (run.path / "labels" / "a.jsonl").unlink()
    (run.path / "labels" / "picks.parquet").unlink()
    verdicts = run.verdicts("visor").with_columns(
        pl.format("{}_{}", "prompt_id", "sample").alias("name")
    )
    rows = ["sample_id,checker_verdict,stratum_size,stratum_labelled,human_verdict"]
    rng = np.random.default_rng(0)
    for right, n in ((True, 15), (False, 85)):
        part = verdicts.filter(pl.col("correct") == right)
        chosen = set(rng.choice(len(part), n, replace=False).tolist())
        for k, (prompt_id, sample, name) in enumerate(
            part.select("prompt_id", "sample", "name").rows()
        ):
            said = ("PASS" if truth[prompt_id, sample] else "FAIL") if k in chosen else ""
            rows.append(f"{name},{'PASS' if right else 'FAIL'},{len(part)},{n},{said}")
    file = tmp_path / "audit.csv"
    file.write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match="--annotator names"):
        import_labels(run, file)
    import_labels(run, file, "someone")
    entry = audit_run(run).protocols["visor"]["numbers"]["VISOR_uncond"]
    assert entry["low"] <= true_rate(run, truth) <= entry["high"]
    plain = float((read_labelled(run).truths["image"] == "yes").mean())
    assert plain < entry["low"]


def test_whole_answers_and_unread_prompts(tmp_path):
    run, truth = make_run(tmp_path / "run", n_prompts=20)
    for key, prompt in prompts_of(run).items():
        for sample in range(4):
            append_label(
                run.path / "labels" / "a.jsonl",
                Label(
                    image=f"images/{key}_{sample}.png",
                    image_sha256=None,
                    prompt_id=key,
                    question_id=whole_question(prompt).id,
                    label="yes" if truth[key, sample] else "no",
                    annotator="a",
                    pi=1.0,
                ),
            )
    entry = audit_run(run, AuditSettings(target="images")).first
    assert entry["value"] == pytest.approx(true_rate(run, truth))
    assert entry["high"] - entry["low"] == pytest.approx(0, abs=1e-9)
    assert len(questions_for(prompts_of(run)["0"])) == 3


def test_commands(labelled, tmp_path):
    run, _ = labelled
    runner = CliRunner()
    place = str(run.path)
    shown = runner.invoke(cli, ["audit", place, "--json"], catch_exceptions=False)
    assert json.loads(shown.stdout)["facts"]["labels"] == 300
    picked = runner.invoke(cli, ["audit", "pick", place, "-n", "20", "--picker", "active"])
    assert "20 images of" in picked.stdout
    assert "120 in 2 batches" in picked.stdout
    planned = runner.invoke(cli, ["audit", "plan", "--half-width", "0.03", "--json"])
    assert json.loads(planned.stdout)["source"] == "assumed"
    wrong = runner.invoke(cli, ["audit", "export", place, "-o", str(tmp_path / "x.csv")])
    assert wrong.exit_code == 0
    both = runner.invoke(cli, ["compare", place, place, "--labels", "--json"])
    assert json.loads(both.stdout)["audited"]["visor"]["VISOR_uncond"]["value"] == 0
    bad = runner.invoke(cli, ["audit", str(tmp_path / "nothing")])
    assert bad.exit_code == 2
