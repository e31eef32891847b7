"""Detection files as people have them: formats, labels, numbers, repeats and boxes."""

from __future__ import annotations

import json
import os
import threading

import polars as pl
import pytest

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.interchange import read_detections
from t2i_spatial.interchange.class_numbers import coco_classes, read_classes
from t2i_spatial.interchange.label_spelling import match_labels
from t2i_spatial.interchange.readers import FORMATS, Content, DetectionFormat
from t2i_spatial.metrics import VISOR
from t2i_spatial.numbering import natural_key, rank_samples
from t2i_spatial.prompts import load_prompts
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

TWO = [relation_prompt("cat", "left of", "dog", "7"), relation_prompt("cat", "above", "dog", "8")]
PROMPTS = prompts_to_table(TWO)


def save(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rows(*keys, detections=(), **more):
    return [{"prompt_id": p, "sample": s, "detections": list(detections), **more} for p, s in keys]


def found(label, box=(10, 10, 20, 20), score=0.9):
    return {"label": label, "score": score, "box": list(box)}


def lines(path, records):
    return save(path, "\n".join(map(json.dumps, records)))


def keys(table):
    return table.select("prompt_id", "sample").rows()


def prompts_of(*names):
    return prompts_to_table(
        [relation_prompt(a, "left of", b, str(i)) for i, (a, b) in enumerate(names)]
    )


# -- sample numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 1000, 5_331_588, 10**7, 2**31 - 2, 2**31, 2**62])
def test_a_global_index_is_ranked_and_kept_in_the_name(tmp_path, capsys, offset):
    ids = [p for p in "abcdef" for _ in range(2)]
    prompts = prompts_to_table([Prompt(p, f"prompt {p}") for p in "abcdef"])
    path = lines(tmp_path / "f.jsonl", rows(*((p, offset + i) for i, p in enumerate(ids))))
    table = read_detections(path, prompts)
    assert keys(table) == [(p, i % 2) for i, p in enumerate(ids)]
    assert table["image"][3] == f"b_{offset + 3}"
    assert "run over all images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "samples"),
    [
        # counts stay, gaps and missing images with them
        ([("a", 0), ("a", 1), ("b", 0), ("b", 1)], [0, 1, 0, 1]),
        ([("a", 1), ("a", 2), ("b", 1), ("b", 2)], [1, 2, 1, 2]),
        ([("a", 0), ("a", 1), ("a", 3), ("b", 0)], [0, 1, 3, 0]),
        ([("a", 0), ("b", 1)], [0, 1]),
        ([("a", 2), ("b", 2)], [2, 2]),
        # one index over all images
        ([("a", 0), ("b", 1), ("c", 2)], [0, 0, 0]),
        ([("a", 0), ("b", 1), ("a", 2), ("b", 3)], [0, 0, 1, 1]),
        # seeds, the same for all prompts: a missing image stays missing
        ([("a", 42), ("a", 43), ("b", 43)], [0, 1, 1]),
        ([("a", 100), ("a", 200), ("b", 100), ("b", 200)], [0, 1, 0, 1]),
        # a seed for each image
        ([("a", 918273), ("a", 11), ("b", 555555), ("b", 7)], [1, 0, 1, 0]),
        ([("a", -1), ("b", -1), ("a", 5), ("b", 5)], [0, 0, 1, 1]),
    ],
)
def test_what_sample_numbers_count(given, samples):
    assert rank_samples(given)[0] == samples


def test_seeds_that_collide_now_and_then_are_still_seeds():
    given = [(f"p{i}", (i * 7919) % 997) for i in range(400)]
    assert set(rank_samples([*given, ("q", 0), ("q", 1)])[0]) == {0, 1}


def test_numbers_in_names_sort_as_numbers():
    names = ["10.png", "9.png", "1.png", "a2", "a10", "B1"]
    assert sorted(names, key=natural_key) == ["1.png", "9.png", "10.png", "a2", "a10", "B1"]


@pytest.mark.parametrize("value", [1.5, True, None, "x", 2**64])
def test_samples_that_are_no_whole_numbers_are_refused(tmp_path, value):
    record = {"prompt_id": "7", "sample": value, "detections": []}
    with pytest.raises(InputError, match=r"f\.jsonl"):
        read_detections(lines(tmp_path / "f.jsonl", [record]), PROMPTS)


@pytest.mark.parametrize("value", [True, [7], 1.5])
def test_prompt_ids_that_are_none_are_refused(tmp_path, value):
    record = {"prompt_id": value, "sample": 0, "detections": []}
    with pytest.raises(InputError, match="prompt_id must be text or a whole number"):
        read_detections(lines(tmp_path / "f.jsonl", [record]), PROMPTS)
    if not isinstance(value, list):
        frame = pl.DataFrame([record], schema_overrides={"detections": pl.List(pl.Null)})
        frame.write_parquet(tmp_path / "f.parquet")
        with pytest.raises(InputError, match="prompt_id must be"):
            read_detections(tmp_path / "f.parquet", PROMPTS)


def test_prompt_ids_of_a_spreadsheet_are_whole_numbers(tmp_path):
    table = detection_rows({("7", 0): detections(box("cat", 0, 0, 9, 9))})
    table.with_columns(pl.lit(7.0).alias("prompt_id")).write_parquet(tmp_path / "f.parquet")
    assert keys(read_detections(tmp_path / "f.parquet", PROMPTS)) == [("7", 0)]


# -- repeats ------------------------------------------------------------------------------------


def test_several_files_are_one_set(tmp_path):
    one = lines(tmp_path / "one.jsonl", rows(("7", 0)))
    two = lines(tmp_path / "two.jsonl", rows(("7", 1), ("8", 0)))
    assert sorted(keys(read_detections([one, two], PROMPTS))) == [("7", 0), ("7", 1), ("8", 0)]
    with pytest.raises(InputError, match="2 files of detections: the same image twice"):
        read_detections([one, one], PROMPTS)


def test_rows_that_repeat_count_once_when_asked(tmp_path):
    row = rows(("7", 0), detections=[found("cat")])
    path = lines(tmp_path / "f.jsonl", row * 3)
    with pytest.raises(InputError, match=r"same image twice: .*2 rows repeat.*-rows once"):
        read_detections(path, PROMPTS)
    assert keys(read_detections(path, PROMPTS, repeated="once")) == [("7", 0)]
    other = rows(("7", 0), detections=[found("dog")])
    with pytest.raises(InputError, match="with different values"):
        read_detections(lines(path, row + other), PROMPTS, repeated="once")


def test_a_picture_set_has_the_same_numbers_however_its_prompts_are_listed(tmp_path):
    records = [
        {"tag": "position", "prompt": f"a photo of a {a} left of a {b}", "include": [
            {"class": b, "count": 1}, {"class": a, "count": 1, "position": ["left of", 0]}]}
        for a, b in (("cat", "dog"), ("bus", "cup"), ("tie", "bed"))
    ]  # fmt: skip
    seen = {
        (i, s): [found(r["include"][1]["class"], (0, 0, 9, 9)),
                 found(r["include"][0]["class"], (40 * (s % 2 or i == 2), 0, 49, 9))]
        for i, r in enumerate(records) for s in range(4)
    }  # fmt: skip
    numbers = []
    for times, order in ((1, "AAAA"), (4, "AAAABBBBCCCC"), (4, "ABCABCABCABC")):
        listed = records if times == 1 else [records["ABC".index(c)] for c in order]
        prompts = prompts_to_table(load_prompts(lines(tmp_path / "p.jsonl", listed)))
        assert len(prompts) == 3
        rows_ = []
        places = {i: [n for n, r in enumerate(listed) if r is records[i]] for i in range(3)}
        for (i, s), boxes in seen.items():
            line = places[i][s if times == 4 else 0]
            key = {"prompt_id": f"{line:05d}", "sample": s if times == 1 else 0}
            rows_.append({**key, "width": 64, "height": 64, "detections": boxes})
        table = read_detections(lines(tmp_path / "f.jsonl", rows_), prompts)
        assert sorted(set(table["sample"])) == [0, 1, 2, 3]
        visor = VISOR()
        verdicts = visor.judge(prompts, table)
        numbers.append(json.dumps(visor.summarize(verdicts, prompts)["OA"]))
        numbers[-1] += str(sorted(verdicts["correct"].to_list()))
    assert numbers[0] == numbers[1] == numbers[2]


# -- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Cat", "cat"), (" cat ", "cat"), ("cats", "cat"), ("cat.", "cat"), ("a cat", "cat"),
        ("The cats.", "cat"), ("CAT_(animal)", "cat"),
        ("traffic-light", "traffic light"), ("traffic_light", "traffic light"),
        ("Traffic Lights", "traffic light"), ("trafficlight", "traffic light"),
        ("aeroplane", "airplane"), ("tvmonitor", "tv"), ("pottedplant", "potted plant"),
        ("diningtable", "dining table"), ("motorbike", "motorcycle"), ("sofa", "couch"),
        ("mouse", "computer mouse"), ("remote", "tv remote"), ("keyboard", "computer keyboard"),
        ("computer mouse", "mouse"), ("mice", "mouse"), ("people", "person"), ("knives", "knife"),
        ("wine-glasses", "wine glass"), ("cell phone", "cellphone"), ("Tie", "tie"),
        ("buses", "bus"), ("scissors", "scissors"), ("skis", "skis"), ("glasses", "glasses"),
        ("Straße", "straße"), ("bus_(vehicle)", "bus"), ("computer_keyboard", "keyboard"),
    ],
)  # fmt: skip
def test_labels_that_are_certainly_the_name(label, name):
    matched = match_labels([label], [name])
    assert matched.names.get(label, label) == name and matched.known == 1


@pytest.mark.parametrize(
    ("label", "name"),
    [("van", "car"), ("hot dog", "dog"), ("catfish", "cat"), ("glass", "glasses"), ("bow_(weapon)",
     "tie"), ("cat", "dog"), ("12", "cat"), ("", "cat")],
)  # fmt: skip
def test_labels_that_are_another_thing_stay(label, name):
    matched = match_labels([label], [name])
    assert matched.names == {} and matched.known == 0


def test_a_spelling_is_not_merged_into_a_label_that_the_file_has(tmp_path):
    assert match_labels(["mouse", "computer mouse"], ["computer mouse"]).names == {}


def test_labels_are_renamed_in_the_table_and_told(tmp_path, capsys):
    prompts = prompts_of(("traffic light", "computer mouse"))
    path = lines(
        tmp_path / "f.jsonl",
        rows(("0", 0), detections=[found("Traffic-Light"), found("mouse"), found("zebra")]),
    )
    table = read_detections(path, prompts)
    assert [d["label"] for d in table["detections"][0]] == [
        "traffic light", "computer mouse", "zebra",
    ]  # fmt: skip
    assert "'Traffic-Light' as 'traffic light'" in capsys.readouterr().err


def test_doubtful_labels_are_told_and_left(tmp_path, capsys):
    path = lines(tmp_path / "f.jsonl", rows(("7", 0), detections=[found("cat"), found("dgo")]))
    read_detections(path, PROMPTS)
    assert capsys.readouterr().err == ""
    prompts = prompts_of(("traffic light", "person"))
    boxes = [found("trafic light"), found("woman"), found("person")]
    read_detections(lines(path, rows(("0", 0), detections=boxes)), prompts)
    said = capsys.readouterr().err
    assert "'trafic light' (beside 'traffic light')" in said
    assert "'woman' (beside 'person')" in said


def test_a_file_none_of_whose_labels_is_asked_for_is_refused(tmp_path):
    path = lines(tmp_path / "f.jsonl", rows(("7", 0), detections=[found("zebra"), found("bus")]))
    with pytest.raises(InputError, match=r"'bus', 'zebra'; asked 'cat', 'dog'; .*--any-label"):
        read_detections(path, PROMPTS)
    assert len(read_detections(path, PROMPTS, any_label=True)) == 1
    # nothing found is an answer, too
    assert len(read_detections(lines(path, rows(("7", 0))), PROMPTS)) == 1


def test_class_numbers_need_a_list(tmp_path):
    path = lines(tmp_path / "f.jsonl", rows(("7", 0), detections=[found(15), found(16.0)]))
    with pytest.raises(InputError, match="class numbers; say what they mean with --classes"):
        read_detections(path, PROMPTS)
    table = read_detections(path, PROMPTS, classes=read_classes("coco80"))
    assert [d["label"] for d in table["detections"][0]] == ["cat", "dog"]
    names = save(tmp_path / "names.txt", "\n".join(["x"] * 15 + ["dog", "cat"]))
    table = read_detections(path, PROMPTS, classes=read_classes(str(names)))
    assert [d["label"] for d in table["detections"][0]] == ["dog", "cat"]


def test_cocos_two_numberings():
    assert (coco_classes(80)[15], coco_classes(91)[17], coco_classes(91)[90]) == (
        "cat", "cat", "toothbrush",
    )  # fmt: skip
    assert 12 not in coco_classes(91) and len(set(coco_classes(91).values())) == 80


@pytest.mark.parametrize(
    ("numbers", "label"), [((0, 15), "cat"), ((12, 15), "cat"), ((90, 17), "cat"), ((17, 5), None)]
)
def test_result_lists_without_categories(tmp_path, numbers, label):
    results = [
        {"image_id": "7_0", "category_id": n, "bbox": [1, 2, 3, 4], "score": 0.5} for n in numbers
    ]
    path = save(tmp_path / "predictions.json", results)
    if label is None:
        with pytest.raises(InputError, match="fit both COCO's 80 and its 91 classes"):
            read_detections(path, PROMPTS)
        return
    table = read_detections(path, PROMPTS)
    assert label in [d["label"] for d in table["detections"][0]] and keys(table) == [("7", 0)]


def test_numbers_of_another_list_than_the_categories_are_refused(tmp_path):
    data = {"images": [{"id": 1, "file_name": "7_0.png"}],
            "categories": [{"id": n, "name": c} for n, c in coco_classes(91).items()],
            "annotations": [{"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4]}]}  # fmt: skip
    with pytest.raises(InputError, match=r"no image, category or key 0 .*80, from 1 to 90"):
        read_detections(save(tmp_path / "f.json", data), PROMPTS)


# -- scores and boxes ---------------------------------------------------------------------------


def coco(annotations, size=(64, 48)):
    image = {"id": 1, "file_name": "7_0.png", "width": size[0], "height": size[1]}
    return {"images": [image], "categories": [{"id": 3, "name": "cat"}], "annotations": annotations}


def test_a_missing_score_is_told_or_refused(tmp_path, capsys):
    bare = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}
    read_detections(save(tmp_path / "f.json", coco([bare])), PROMPTS)
    assert "1 boxes have no scores and count as certain" in capsys.readouterr().err
    for others in ([bare, {**bare, "score": 0.5}], [{**bare, "score": None}]):
        with pytest.raises(InputError, match="a box has no score"):
            read_detections(save(tmp_path / "f.json", coco(others)), PROMPTS)
    results = save(tmp_path / "r.json", [bare])
    beside = save(tmp_path / "i.json", coco([]))
    with pytest.raises(InputError, match="a box has no score"):
        read_detections(results, PROMPTS, coco_images=beside)


def test_boxes_in_fractions_become_pixels(tmp_path, capsys):
    size = {"width": 200, "height": 100}
    boxes = [found("cat", (0.1, 0.2, 0.5, 1.0)), found("dog", (0, 0, 0.25, 1.004))]
    path = lines(tmp_path / "f.jsonl", rows(("7", 0), detections=boxes, **size))
    (first, second) = read_detections(path, PROMPTS)["detections"][0]
    assert first["box"] == pytest.approx([20, 20, 100, 100]) and second["box"] == [0, 0, 50, 100]
    assert first["score"] == 0.9 and first["label"] == "cat"
    assert "fractions" in capsys.readouterr().err
    with pytest.raises(InputError, match="give width and height"):
        read_detections(lines(path, rows(("7", 0), detections=boxes)), PROMPTS)


def test_small_boxes_among_others_are_pixels(tmp_path):
    boxes = [found("cat", (0, 0, 1, 1)), found("dog", (0, 0, 30, 1))]
    path = lines(tmp_path / "f.jsonl", rows(("7", 0), detections=boxes, width=64, height=64))
    assert read_detections(path, PROMPTS)["detections"][0][0]["box"] == [0, 0, 1, 1]


# -- formats ------------------------------------------------------------------------------------

CAT = {"label": "cat", "score": 0.9, "box": [10.0, 20.0, 30.0, 40.0]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.csv", "image,label,score,xmin,ymin,xmax,ymax\n7_0.png,cat,0.9,10,20,30,40\n"),
        ("f.csv", "\ufefffilename;class;confidence;x1;y1;x2;y2\n7_0.png;cat;0.9;10;20;30;40\n"),
        ("f.tsv", "file_name\tname\tconf\tx\ty\tw\th\na/7_0.png\tcat\t0.9\t10\t20\t20\t20\n"),
        ("f.csv", "prompt_id,sample,label,score,left,top,right,bottom\n7,0,cat,0.9,10,20,30,40\n"),
        ("f.json", '[{"image": "7_0.png", "label": "cat", "score": 0.9, "xmin": 10, "ymin": 20, '
                   '"xmax": 30, "ymax": 40}]'),
        ("f.jsonl", '{"image": "7_0.png", "detections": [{"label": "cat", "score": 0.9, "box": '
                    '{"xmin": 10, "ymin": 20, "xmax": 30, "ymax": 40}}]}'),
        ("f.json", '{"prompt_id": 7, "sample": 0, "detections": [{"label": "cat", "score": 0.9, '
                   '"box": [10, 20, 30, 40]}]}\n{"prompt_id": 8, "sample": 0, "detections": []}'),
        ("found", '[{"prompt_id": 7, "sample": 0, "detections": [{"label": "cat", "score": 0.9, '
                  '"box": [10, 20, 30, 40]}]}]'),
    ],
)  # fmt: skip
def test_boxes_of_every_shape(tmp_path, name, text):
    row = read_detections(save(tmp_path / name, text), PROMPTS).row(0, named=True)
    assert (row["prompt_id"], row["sample"], len(row["detections"])) == ("7", 0, 1)
    assert {k: row["detections"][0][k] for k in CAT} == CAT


def test_a_table_of_boxes_with_an_image_in_which_nothing_was_found(tmp_path):
    text = (
        "image,label,score,xmin,ymin,xmax,ymax,image_width,image_height\n"
        "7_0.png,cat,0.5,10,20,30,40,64,48\n8_0.png,,,,,,,64,48\n7_0.png,dog,0.9,1,2,3,4,64,48\n"
    )
    table = read_detections(save(tmp_path / "f.csv", text), PROMPTS)
    assert keys(table) == [("7", 0), ("8", 0)]
    assert [d["label"] for d in table["detections"][0]] == ["dog", "cat"]
    assert table["detections"][1].to_list() == [] and table["width"].to_list() == [64, 64]
    for change, message in (
        (("0.5", ""), "row 1: a box has no score"),
        (("10,", "ten,"), "row 1: a box cannot be read"),
        (("7_0.png,cat", "zebra.png,cat"), "row 1: image 'zebra.png' belongs to no prompt"),
    ):
        with pytest.raises(InputError, match=message):
            read_detections(save(tmp_path / "f.csv", text.replace(*change, 1)), PROMPTS)


def test_label_studio(tmp_path, capsys):
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["Cat"]}
    result = {"value": value, "original_width": 200, "original_height": 100}
    task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-7_0.png"},
            "annotations": [{"result": [result]}], "predictions": []}  # fmt: skip
    row = read_detections(save(tmp_path / "f.json", [task]), PROMPTS).row(0, named=True)
    assert row["detections"][0]["box"] == pytest.approx([20, 20, 80, 60])
    assert (row["detections"][0]["label"], row["width"], row["prompt_id"]) == ("cat", 200, "7")
    assert "1 boxes have no scores" in capsys.readouterr().err
    value["rotation"] = 12
    with pytest.raises(InputError, match="task 1: a rectangle is turned"):
        read_detections(save(tmp_path / "f.json", [task]), PROMPTS)


def test_lvis_has_no_file_names(tmp_path):
    data = coco([{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}])
    del data["images"][0]["file_name"]
    data["images"][0]["coco_url"] = "http://images.example.org/val2017/7_0.jpg"
    data["categories"][0]["name"] = "cat_(animal)"
    row = read_detections(save(tmp_path / "f.json", data), PROMPTS).row(0, named=True)
    assert (row["prompt_id"], row["detections"][0]["label"]) == ("7", "cat")


def test_image_names_of_many_tools_find_their_prompt(tmp_path):
    prompts = prompts_to_table([Prompt("00007", "a cat, left of a dog!"), Prompt("x.1", "a cup")])
    for name, key in (
        ("00007_2.png", ("00007", 2)), ("7_2.jpg", ("00007", 2)), ("00007-2.png", ("00007", 2)),
        ("00007_seed2.png", ("00007", 2)), ("00007 (2).png", ("00007", 2)),
        ("7.webp", ("00007", 0)),
        ("a_cat_left_of_a_dog_2.png", ("00007", 2)), ("a cat, left of a dog!_2.png", ("00007", 2)),
        ("x.1_2", ("x.1", 2)), ("x.1", ("x.1", 0)), ("C:\\out\\x.1_2.png", ("x.1", 2)),
    ):  # fmt: skip
        path = lines(tmp_path / "f.jsonl", [{"image": name, "detections": []}])
        assert keys(read_detections(path, prompts)) == [key], name


def test_a_pipe_is_read_once(tmp_path):
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: lines(path, rows(("7", 0))))
    writer.start()
    assert keys(read_detections(path, PROMPTS)) == [("7", 0)]
    writer.join()
    os.mkfifo(tmp_path / "pipe.parquet")
    with pytest.raises(InputError, match="cannot be read from a pipe"):
        read_detections(tmp_path / "pipe.parquet", PROMPTS)


def test_parquet_by_content(tmp_path):
    table = detection_rows({("7", 0): detections(box("cat", 0, 0, 9, 9))})
    table.write_parquet(tmp_path / "f.bin")
    assert read_detections(tmp_path / "f.bin", PROMPTS).equals(table)


def test_a_format_of_ones_own_is_one_registration(tmp_path, monkeypatch):
    def matches(content: Content) -> bool:
        return isinstance(content.document, dict) and "shots" in content.document

    def read(content: Content) -> pl.DataFrame:
        return pl.DataFrame(rows(*((i, 0) for i in content.document["shots"])))

    monkeypatch.setattr(FORMATS, "_entries", dict(FORMATS._entries))
    list(FORMATS)
    FORMATS.register("shots")(DetectionFormat(matches, read, "shots"))
    path = save(tmp_path / "f.json", {"shots": ["7", "8"]})
    assert keys(read_detections(path, PROMPTS)) == [("7", 0), ("8", 0)]
    with pytest.raises(InputError, match=r"not a known format of detections .*COCO.*shots"):
        read_detections(save(path, {"other": 1}), PROMPTS)


# -- the command --------------------------------------------------------------------------------


def test_the_command_takes_several_files(tmp_path):
    from click.testing import CliRunner

    prompts = save(tmp_path / "p.jsonl", '{"id": "7", "text": "a cat to the left of a dog"}\n')
    boxes = [found("cat", (0, 0, 9, 9)), found("dog", (40, 0, 49, 9))]
    one = lines(tmp_path / "1.jsonl", rows(("7", 0), detections=boxes, width=64, height=64))
    two = lines(tmp_path / "2.jsonl", rows(("7", 1), detections=boxes[:1], width=64, height=64))
    files = ["--detections", str(one), "--detections", str(two), "--prompts", str(prompts)]
    result = CliRunner().invoke(main, ["score", *files, "-p", "visor", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["visor"]["OA"]["value"] == 0.5
    twice = ["--detections", str(one), *files]
    assert "--repeated-rows once" in CliRunner().invoke(main, ["score", *twice]).stderr
    result = CliRunner().invoke(main, ["score", *twice, "--repeated-rows", "once", "--json"])
    assert json.loads(result.stdout)["visor"]["OA"]["value"] == 0.5
