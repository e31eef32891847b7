"""Peers' result files, made by hand in their own formats: the totals and the errors."""

from __future__ import annotations

import csv
import json

import polars as pl
import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.interchange.answer_files import read_answer_file, write_vqa_result
from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.score_sources import score_answer_file
from t2i_spatial.tables import VERDICTS, prompts_to_table

GOLD = "CBDACCBDAC"


def lines(letters):
    return [f"{letter}: so" for letter in letters]


def spatialgeneval(id, replies):
    return {
        "id": id,
        "scene": "Forest",
        "prompt": f"prompt {id}",
        "questions": [f"{k}?  Options: A: a, B: b, C: c, D: d, E: None" for k in range(10)],
        "answers": list(GOLD),
        "model_preds": [],
        "model_preds_cot": replies,
    }


SGE = [
    spatialgeneval("000001", [lines(GOLD)] * 5),
    spatialgeneval("000002", [lines("C" * 10)] * 5),
    spatialgeneval("000003", [lines("C" + GOLD[1:])] * 4 + [lines("E" * 10)]),
]


def as_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def score(*arguments):
    result = CliRunner().invoke(main, ["score", *map(str, arguments), "--json"])
    return result, json.loads(result.stdout) if result.stdout.startswith("{") else {}


def test_spatialgeneval_gets_intervals_from_its_own_file(tmp_path):
    path = as_lines(tmp_path / "results.jsonl", SGE)
    result, summary = score("--answer-file", path, "--prompts", path, "-p", "spatialgeneval")
    assert result.exit_code == 0, result.output
    overall = summary["spatialgeneval"]["overall"]
    assert overall["value"] == pytest.approx((1 + 0.4 + 1) / 3)
    assert overall["low"] < overall["value"] < overall["high"]
    assert "results.jsonl" in summary["spatialgeneval"]["judge"]["judge"]


def test_items_that_a_run_lost_are_missing(tmp_path):
    prompts = as_lines(tmp_path / "prompts.jsonl", SGE)
    path = as_lines(tmp_path / "results.jsonl", SGE[:2])
    result, summary = score("--answer-file", path, "--prompts", prompts, "-p", "spatialgeneval")
    assert result.exit_code == 1
    assert summary["spatialgeneval"]["images"]["image_missing"] == 1
    assert summary["spatialgeneval"]["overall_at_least"]["value"] == pytest.approx(1.4 / 3)


def test_a_file_that_was_appended_to_is_refused(tmp_path):
    path = as_lines(tmp_path / "results.jsonl", [*SGE, SGE[0]])
    prompts = as_lines(tmp_path / "prompts.jsonl", SGE)
    result, _ = score("--answer-file", path, "--prompts", prompts, "-p", "spatialgeneval")
    assert result.exit_code == 1
    assert "holds prompt '000001', sample 0 twice" in result.stderr


def test_geneval2_is_matched_by_place(tmp_path):
    atoms = [
        ["How many cats are in the image?", "two"],
        ["Are there any cats in the image?", "Yes"],
    ]
    records = [
        {"prompt": f"p{k}", "atom_count": 3, "vqa_list": atoms, "skills": ["count", "object"]}
        for k in range(3)
    ]
    prompts = as_lines(tmp_path / "data.jsonl", records)
    path = tmp_path / "scores.json"
    path.write_text(json.dumps([[0.25, 1.0], [1.0, 1.0], [0.0, 0.5]]))
    result, summary = score("--answer-file", path, "--prompts", prompts, "-p", "geneval2")
    assert result.exit_code == 0, result.output
    assert summary["geneval2"]["soft_tifa_am"]["value"] == pytest.approx(1.875 / 3)
    assert summary["geneval2"]["soft_tifa_gm"]["value"] == pytest.approx(1.5 / 3)
    assert summary["geneval2"]["count"]["value"] == pytest.approx(1.25 / 3)
    path.write_text("[[0.25, 1.0]]")
    result, _ = score("--answer-file", path, "--prompts", prompts, "-p", "geneval2")
    assert "1 lists of scores for 3 prompts" in result.stderr


def test_dsg_and_its_models(tmp_path):
    prompts = tmp_path / "anns.csv"
    with prompts.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            [
                "item_id",
                "text",
                "proposition_id",
                "dependency",
                "category_broad",
                "tuple",
                "question_natural_language",
            ]
        )
        rows.writerow(("a_1", "a man", "1", "0", "entity", "", "Is there a man?"))
        rows.writerow(("a_1", "a man", "2", "1", "attribute", "", "Is he tall?"))
        rows.writerow(("a_2", "a dog", "1", "0", "entity", "", "Is there a dog?"))
    path = tmp_path / "answers.csv"

    def write(second):
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(
                ["t2i_model", "item_id", "question", "question_id", "dependency_id", "answer"]
            )
            rows.writerow(("sd", "a_1", "Is there a man?", "1", "0", "no"))
            rows.writerow(("sd", "a_1", "Is he tall?", "2", "1", "yes"))
            rows.writerow((second, "a_2", "Is there a dog?", "1", "0", "yes"))

    write("sd")
    result, summary = score("--answer-file", path, "--prompts", prompts, "-p", "dsg")
    assert result.exit_code == 0, result.output
    assert summary["dsg"]["dsg"]["value"] == pytest.approx(0.5)
    assert summary["dsg"]["dsg_ungated"]["value"] == pytest.approx(0.75)
    write("flux")
    result, _ = score("--answer-file", path, "--prompts", prompts, "-p", "dsg")
    assert "several models (flux, sd)" in result.stderr


def test_tifa_takes_what_the_peer_chose(tmp_path):
    row = {
        "id": "c1",
        "caption": "a car",
        "question": "what color?",
        "choices": ["red", "blue"],
        "answer": "red",
        "element_type": "color",
    }
    prompts = tmp_path / "questions.json"
    prompts.write_text(json.dumps([row]))
    path = tmp_path / "result.json"
    said = {**row, "free_form_vqa": "crimson", "multiple_choice_vqa": "red", "scores": 1}
    path.write_text(json.dumps({"question_details": {"c1": {"what color?": said}}}))
    result, summary = score("--answer-file", path, "--prompts", prompts, "-p", "tifa")
    assert result.exit_code == 0, result.output
    assert summary["tifa"]["tifa"]["value"] == summary["tifa"]["tifa_at_most"]["value"] == 1


def test_vqa_result_is_read_and_written(tmp_path):
    prompts = prompts_to_table([Prompt(str(k), f"p{k}", "spatial") for k in range(2)])
    rows = [
        {"prompt_id": str(k // 10), "sample": k % 10, "value": k / 20, "protocol": "p"}
        for k in range(20)
    ]
    verdicts = pl.DataFrame(rows, schema=VERDICTS)
    path = tmp_path / "vqa_result.json"
    assert write_vqa_result(path, verdicts, prompts) == 20
    assert json.loads(path.read_text())[13] == {"question_id": 13, "answer": 65.0}
    told = [Prompt(str(k), f"p{k}", "spatial") for k in range(2)]
    metric = PROTOCOLS["t2i_compbench_mllm"]()
    scores = score_answer_file(path, told, [metric])
    assert scores.summary[metric.name]["score"]["value"] == pytest.approx(9.5 / 20)
    assert scores.summary[metric.name]["score"]["n_images"] == 20
    with pytest.raises(InputError, match="beyond 1 prompts"):
        score_answer_file(path, told[:1], [metric])


def test_unigenbench_csv(tmp_path):
    points = {"Testpoints": ["Style", "Relationship - Comparison"]}
    points["Testpoint Description"] = ["ink", "larger"]
    prompts = tmp_path / "prompts.csv"
    with prompts.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("index", "prompt_en", "sub_dims_en"))
        rows.writerow(("0", "p", json.dumps(points)))
    path = tmp_path / "model_en.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("index", "prompt", "testpoint", "output", "result_json", "img_path"))
        for sample, scores in enumerate(([1, 0], [1, 1], None, [0, 0])):
            output = f"<analysis>['a',\n'b']</analysis><score>{scores}</score>" if scores else ""
            rows.writerow(("0", "p", "", output, "", f"images/0_{sample}.png"))
    result, summary = score("--answer-file", path, "--prompts", prompts, "-p", "unigenbench")
    assert result.exit_code == 0, result.output
    found = summary["unigenbench"]
    assert found["all"]["value"] == pytest.approx(3 / 6)
    assert found["comparison"]["value"] == pytest.approx(1 / 3)
    assert found["images_at_most"]["value"] == pytest.approx(2.5 / 4)


def test_results_of_other_prompts_are_named(tmp_path):
    own = as_lines(tmp_path / "own.jsonl", SGE[:1])
    other = as_lines(tmp_path / "other.jsonl", SGE[1:])
    said = score("--answer-file", other, "--prompts", own, "-p", "spatialgeneval")[0].stderr
    assert "other.jsonl holds prompt '000002', which is none of the prompt set" in said
    broken = as_lines(tmp_path / "broken.jsonl", [{"id": "000001"}])
    said = score("--answer-file", broken, "--prompts", own, "-p", "spatialgeneval")[0].stderr
    assert said.endswith("broken.jsonl: line 1 is no result of SpatialGenEval\n")
    scores = tmp_path / "scores.json"
    scores.write_text("[[0.5]]")
    said = score("--answer-file", scores, "--prompts", own, "-p", "geneval2")[0].stderr
    assert "the prompt '000001' is none of GenEval 2's prompt file" in said


def test_other_files_and_protocols_are_one_line(tmp_path):
    prompts = prompts_to_table([Prompt("0", "p")])
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"x\.json is no result file of t2i_compbench_mllm"):
        read_answer_file(path, prompts, PROTOCOLS["t2i_compbench_mllm"]())
    with pytest.raises(InputError, match="vqascore has no result file"):
        read_answer_file(path, prompts, PROTOCOLS["vqascore"]())
    with pytest.raises(InputError, match="of one protocol"):
        score_answer_file(path, [Prompt("0", "p")], [PROTOCOLS["visor"]()])
