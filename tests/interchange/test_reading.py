"""Detections of every origin, and every way in which such a file can be wrong."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.interchange import (
    export_folder,
    read_detections,
    to_coco,
    write_geneval,
    write_visor,
)
from t2i_spatial.metrics import VISOR, GenEval
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.tables import IMAGES, SCORED, prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

PROMPTS = prompts_to_table(
    [relation_prompt("cat", "left of", "dog", "7"), relation_prompt("cat", "above", "dog", "8")]
)
CAT, DOG = box("cat", 0, 0, 50, 50, 0.9), box("dog", 100, 100, 150, 150, 0.8)
TABLE = detection_rows(
    {("7", 0): detections(CAT, DOG), ("7", 1): detections(), ("8", 0): detections(DOG)}
)
OWN = {
    "prompt_id": "7",
    "sample": 0,
    "image": "7_0.png",
    "width": 64,
    "height": 64,
    "detections": [{"label": "cat", "score": 0.9, "box": [1, 2, 30, 40]}],
}


def lines(tmp_path, *records, name="found.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records))
    return path


def as_json(tmp_path, content, name="found.json"):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return path


def own(**changes):
    return {**OWN, **changes}


def one_box(**changes):
    return own(detections=[{**OWN["detections"][0], **changes}])


def test_own_json_lines(tmp_path):
    colored = one_box(color="red", depth=0.4)
    found = read_detections(lines(tmp_path, colored, "", own(sample=1, detections=[])), PROMPTS)
    assert found["status"].to_list() == [SCORED, SCORED]
    assert found["detections"].list.len().to_list() == [1, 0]
    assert found["detections"][0][0] == {
        "label": "cat", "score": 0.9, "box": [1.0, 2.0, 30.0, 40.0], "color": "red", "depth": 0.4,
    }  # fmt: skip


def test_whole_and_broken_numbers_may_be_mixed(tmp_path):
    found = read_detections(lines(tmp_path, one_box(box=[1, 2.5, 30, 40], score=1)), PROMPTS)
    assert found["detections"][0][0]["box"] == [1, 2.5, 30, 40]


def test_own_lines_of_images_without_a_score_keep_their_status(tmp_path):
    record = {"prompt_id": 7, "sample": 0, "status": "image_unreadable", "reason": "truncated"}
    found = read_detections(lines(tmp_path, record), PROMPTS)
    assert found.row(0, named=True)["status"] == "image_unreadable"
    assert found.row(0, named=True)["detections"] is None


def test_own_parquet(tmp_path):
    TABLE.write_parquet(tmp_path / "found.parquet")
    assert read_detections(tmp_path / "found.parquet", PROMPTS).equals(TABLE)


def test_an_empty_file_is_an_empty_table(tmp_path):
    assert len(read_detections(lines(tmp_path), PROMPTS)) == 0


def test_boxes_that_stick_out_by_a_pixel_are_clipped(tmp_path):
    found = read_detections(lines(tmp_path, one_box(box=[-0.5, 0, 64.7, 64])), PROMPTS)
    assert found["detections"][0][0]["box"] == [0, 0, 64, 64]


BROKEN = {
    "not JSON": (["{'a': 1}"], "line 1: not JSON"),
    "no object": (["[1]"], "line 1: expected a JSON object"),
    "unknown key": ([own(boxes=[])], "record 1: expected the keys"),
    "no sample": ([{"prompt_id": "7", "detections": []}], "record 1"),
    "same image twice": ([own(), own()], "same image twice: prompt_id '7', sample 0"),
    "unknown status": ([own(status="ok")], "status must be one of"),
    "not finite": ([json.dumps(one_box()).replace("30", "NaN")], "not finite"),
    "inverted": ([one_box(box=[30, 2, 1, 40])], "inverted"),
    "three numbers": ([one_box(box=[30, 2, 1])], "four numbers"),
    "outside": ([one_box(box=[0, 0, 66, 10])], "outside its image"),
    "negative": ([one_box(box=[-2, 0, 6, 10])], "outside its image"),
    "score above 1": ([one_box(score=1.5)], r"score is not in \[0, 1\]"),
    "score missing": ([own(detections=[{"label": "cat", "box": [0, 0, 1, 1]}])], "score"),
    "no label": ([own(detections=[{"score": 0.5, "box": [0, 0, 1, 1]}])], "no label"),
    "unknown box key": ([one_box(colour="red")], "unknown key 'colour'"),
    "score in words": ([one_box(score="high")], "record 1: a detection cannot be read"),
    "width in words": ([own(width="wide")], "found.jsonl"),
    "depth": ([one_box(depth=3.0)], "depth is not in"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_lines_name_what_is_wrong_and_where(tmp_path, case):
    records, message = BROKEN[case]
    with pytest.raises(InputError, match=message):
        read_detections(lines(tmp_path, *records), PROMPTS)


def test_files_that_are_not_there_or_not_tables(tmp_path):
    for name in ("no.jsonl", "no.parquet", "no.json"):
        with pytest.raises(InputError, match="no such file"):
            read_detections(tmp_path / name, PROMPTS)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet"):
        read_detections(tmp_path / "bad.parquet", PROMPTS)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no column 'prompt_id'"):
        read_detections(tmp_path / "other.parquet", PROMPTS)
    with pytest.raises(InputError, match="not a known format"):
        read_detections(as_json(tmp_path, {"a": 1}), PROMPTS)
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_detections(tmp_path / "text.json", PROMPTS)


def test_coco_results_and_their_images_round_trip(tmp_path):
    dataset, results = to_coco(TABLE)
    images = as_json(tmp_path, dataset, "images.json")
    found = as_json(tmp_path, results)
    again = read_detections(found, PROMPTS, coco_images=images)
    columns = ["prompt_id", "sample", "width", "height", "status", "detections"]
    assert again.select(columns).equals(TABLE.select(columns))
    with pytest.raises(InputError, match="--coco-images"):
        read_detections(found, PROMPTS)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["images"][0].pop("id"),
        lambda d: d["images"].append("text"),
        lambda d: d["images"][0].update(prompt_id="7", sample="x"),
        lambda d: d["categories"][0].pop("name"),
        lambda d: d["annotations"][0].update(score=None),
        lambda d: d["annotations"][0].update(score="hi"),
        lambda d: d["annotations"][0].update(bbox=[10**400, 0, 1, 1]),
    ],
)
def test_records_of_another_shape_are_one_line(tmp_path, change):
    content = {
        "images": [{"id": 1, "file_name": "7_2.jpg", "width": 64, "height": 64}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 10, 20]}],
    }
    change(content)
    with pytest.raises(InputError, match=r"found\.json"):
        read_detections(as_json(tmp_path, content), PROMPTS)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"prompt_id": ' + "9" * 5000 + "}",
        json.dumps({**OWN, "detections": 5}),
        json.dumps({**OWN, "prompt_id": None}),
    ],
)
def test_lines_that_break_the_reader_are_one_line(tmp_path, line):
    path = tmp_path / "boxes.jsonl"
    path.write_text(line + "\n", "utf-8-sig")
    with pytest.raises(InputError, match=r"boxes\.jsonl"):
        read_detections(path, PROMPTS)


def test_coco_annotations_belong_to_images_by_their_names(tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "a/7_2.jpg", "width": 64, "height": 64}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 10, 20]}],
    }
    found = read_detections(as_json(tmp_path, content), PROMPTS).row(0, named=True)
    assert (found["prompt_id"], found["sample"]) == ("7", 2)
    assert found["detections"][0]["box"] == [1, 2, 11, 22]
    assert found["detections"][0]["score"] == 1
    content["annotations"][0]["category_id"] = 4
    with pytest.raises(InputError, match="category"):
        read_detections(as_json(tmp_path, content), PROMPTS)
    content["images"].append({"id": 1, "file_name": "7_3.jpg"})
    with pytest.raises(InputError, match="two images have the id 1"):
        read_detections(as_json(tmp_path, content), PROMPTS)
    content["images"].pop()
    both = prompts_to_table([relation_prompt("cat", "left of", "dog", i) for i in ("7", "7_2")])
    with pytest.raises(InputError, match="may be the prompt '7_2' or sample 2 of '7'"):
        read_detections(as_json(tmp_path, content), both)
    content["images"][0]["file_name"] = "other.jpg"
    with pytest.raises(InputError, match="belongs to no prompt"):
        read_detections(as_json(tmp_path, content), PROMPTS)


def test_visor_results_round_trip_with_the_peers_fields(tmp_path):
    path = tmp_path / "results_model_text_owlvit_0.1.json"
    assert write_visor(path, TABLE, PROMPTS) == 3
    content = json.loads(path.read_text())
    assert content["7_0"] == {
        "classes": ["cat", "dog"],
        "centroid": [[25, 25], [125, 125]],
        "recall": 2,
        "sra": 1,
        "text": "a cat left of a dog",
    }
    assert content["8_0"]["recall"] == 1 and content["8_0"]["sra"] == 0
    again = read_detections(path, PROMPTS)
    for table in (TABLE, again):
        assert VISOR().judge(PROMPTS, table)["correct"].to_list() == [True, False, False]


def test_visor_results_of_another_prompt_set_are_refused(tmp_path):
    entry = {"classes": ["cat"], "centroid": [[1, 2]], "recall": 1, "sra": 0, "text": "a cow"}
    with pytest.raises(InputError, match="the prompt was 'a cow' there"):
        read_detections(as_json(tmp_path, {"7_0": entry}), PROMPTS)
    with pytest.raises(InputError, match="2 classes for 1 centroids"):
        read_detections(as_json(tmp_path, {"7_0": {**entry, "classes": ["a", "b"]}}), PROMPTS)
    with pytest.raises(InputError, match="<prompt id>_<sample>"):
        read_detections(as_json(tmp_path, {"seven": entry}), PROMPTS)


def test_geneval_results_round_trip(tmp_path):
    red = SceneSpec((ObjectSpec("cat", 1, "red"),))
    prompts = pl.concat([PROMPTS, prompts_to_table([Prompt("9", "a red cat", "colors", red)])])
    cat = detections(box("cat", 0, 0, 50, 50, 0.9), box("cat", 60, 0, 90, 50, 0.2))
    colored = detection_rows({("9", 0): cat}).with_columns(
        pl.Series(
            "detections",
            [[{**d, "color": "red"} for d in cat.to_records()]],
            dtype=TABLE.schema["detections"],
        )
    )
    table = pl.concat([TABLE, colored, detection_rows({}, {("9", 1): "image_missing"})])
    path = tmp_path / "results.jsonl"
    assert write_geneval(path, prompts, table) == 4
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {"filename", "tag", "prompt", "correct", "reason", "metadata", "details"} <= set(
        records[0]
    )
    assert json.loads(records[0]["metadata"])["include"] == [
        {"class": "dog", "count": 1},
        {"class": "cat", "count": 1, "position": ["left of", 0]},
    ]
    # only boxes above the threshold, as GenEval writes them
    assert json.loads(records[3]["details"]) == {"cat": [[0, 0, 50, 50, 0.9]]}
    again = read_detections(path, prompts)
    verdicts = GenEval().judge(prompts, again)
    assert verdicts["correct"].to_list() == [r["correct"] for r in records]
    assert verdicts["correct"].to_list() == [True, False, False, True]


def test_geneval_lines_hold_the_boxes_that_decided_and_no_suppressed_ones(tmp_path):
    prompts = prompts_to_table([relation_prompt("cat", "left of", "dog", "7")])
    again = box("cat", 2, 0, 52, 50, 0.85)
    table = detection_rows({("7", 0): detections(again, CAT, DOG, box("cat", 0, 90, 9, 99, 0.2))})
    path = tmp_path / "results.jsonl"

    def written(protocol):
        assert write_geneval(path, prompts, table, protocol) == 1
        return json.loads(json.loads(path.read_text())["details"])

    cat, dog = [0, 0, 50, 50, 0.9], [100, 100, 150, 150, 0.8]
    assert written(GenEval()) == {"cat": [cat, [2, 0, 52, 50, 0.85]], "dog": [dog]}
    assert written(GenEval(max_overlap=0.5)) == {"cat": [cat], "dog": [dog]}
    assert written(GenEval(max_objects=1)) == {"cat": [cat], "dog": [dog]}
    assert written(GenEval(threshold=0.1))["cat"][2] == [0, 90, 9, 99, 0.2]


def test_geneval_lines_without_boxes_or_of_other_prompts_are_refused(tmp_path):
    line = {
        "filename": "x/00000/samples/0000.png", "tag": "position", "correct": True, "reason": "",
        "prompt": "a cat left of a dog", "metadata": "{}", "details": "{}",
    }  # fmt: skip
    assert len(read_detections(lines(tmp_path, line), PROMPTS)) == 1
    for change, message in (
        ({"prompt": "a cow"}, "not in the prompt set"),
        ({"details": "{"}, "details cannot be read"),
        ({"filename": "cat.png"}, "expected a file name"),
    ):
        with pytest.raises(InputError, match=message):
            read_detections(lines(tmp_path, {**line, **change}), PROMPTS)
    del line["details"]
    with pytest.raises(InputError, match="no details"):
        read_detections(lines(tmp_path, line), PROMPTS)


def test_images_of_a_run_in_genevals_folders(tmp_path):
    run = Run.create(tmp_path / "run")
    run.write_prompts(PROMPTS)
    (run.path / "images").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(run.path / "images" / "8_1.png")
    rows = [
        {"prompt_id": "7", "sample": 0, "status": "image_missing"},
        {"prompt_id": "8", "sample": 1, "image": "images/8_1.png", "status": SCORED},
    ]
    run.write_images(pl.DataFrame(rows, schema=IMAGES))
    assert export_folder(run, tmp_path / "out") == 1
    assert (tmp_path / "out/00001/samples/0001.png").exists()
    record = json.loads((tmp_path / "out/00000/metadata.jsonl").read_text())
    assert record["prompt"] == "a cat left of a dog"
    with pytest.raises(InputError, match="not empty"):
        export_folder(run, tmp_path / "out")
