"""Multiple choice: CV-Bench, 3DSRBench, SpatialBench, and files of no name."""

from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.vqa import VQA_SETS
from tests.interchange.vqa.making import base64_png, marks, png, put, values


def cv(idx, source, task="Relation", **more):
    return {
        "idx": idx,
        "type": "3D" if source == "Omni3D" else "2D",
        "task": task,
        "question": "Where is the cup relative to the box?",
        "choices": ["left", "right"],
        "answer": "(B)",
        "filename": f"img/{idx}.png",
        "source": source,
        **more,
    }


def test_cv_bench_weighs_its_sources(tmp_path):
    put(tmp_path / "test_2d.jsonl", [cv(0, "ADE20K"), cv(1, "COCO"), cv(2, "COCO", "Count")])
    put(tmp_path / "test_3d.jsonl", [cv(3, "Omni3D", "Depth"), cv(4, "Omni3D", "Depth")])
    put(tmp_path / "img" / "0.png", png())
    source = VQA_SETS["cvbench"]()
    items = source.read(tmp_path)
    assert [(item.question.gold, item.picture.is_file()) for item in items[:2]] == [
        ("B", True),
        ("B", False),
    ]
    found = values(source.numbers(marks(source, items, lambda i: i.id in "013")))
    # half of the mean of 1 and 1/2, half of 1/2; the plain share would be 3/5
    assert found["CV-Bench"] == pytest.approx(0.5 * (1 + 0.5) / 2 + 0.5 * 0.5)
    assert (found["2D"], found["3D"], found["Count"]) == (0.75, 0.5, 0.0)


def test_cv_bench_in_parquet_and_without_one_source(tmp_path):
    rows = [cv(k, "COCO", image={"bytes": png(), "path": f"{k}.png"}) for k in range(2)]
    put(tmp_path / "test.parquet", rows)
    put(tmp_path / "test_2d.jsonl", [cv(9, "COCO")])  # a half of what the whole file has
    source = VQA_SETS["cvbench"]()
    items = source.read(tmp_path)
    assert [item.picture for item in items] == [png(), png()]
    found = source.numbers(marks(source, items, lambda i: True))
    assert found["CV-Bench"].value is None
    assert found["CV-Bench"].n == 2


def three_d(qid, answer="A", category="location_above", image=None, **more):
    return {
        "index": qid,
        "qid": qid,
        "question": "Which is higher?",
        "A": "the cup",
        "B": "the box",
        "C": "nan",
        "D": None,
        "answer": answer,
        "category": category,
        "image": image or base64_png(),
        **more,
    }


def test_3dsrbench_counts_a_question_when_every_variant_is_right(tmp_path):
    qids = ["AAAAAAAA", "AAAAAAAA-1", "AAAAAAAA-flip", "AAAAAAAA-flip-1", "BBBBBBBB", "BBBBBBBB-1"]
    rows = [
        three_d(qid, category="height_higher" if qid[0] == "B" else "location_above")
        for qid in qids
    ]
    put(tmp_path / "3dsrbench_v1_vlmevalkit_circular.tsv", rows)
    put(tmp_path / "3dsrbench_v1_vlmevalkit.tsv", rows[:1])
    source = VQA_SETS["3dsrbench"]()
    items = source.read(tmp_path)
    assert [item.whole for item in items] == ["AAAAAAAA"] * 4 + ["BBBBBBBB"] * 2
    assert items[0].question.options == ("the cup", "the box")
    assert items[0].picture == png()
    found = values(source.numbers(marks(source, items, lambda i: i.id != "AAAAAAAA-flip-1")))
    assert found["3DSRBench"] == 1 / 2
    assert (found["height"], found["location"]) == (1.0, 0.0)
    assert found["CircularEval"] == pytest.approx(2 / 3)  # A, A mirrored, B
    assert found["FlipEval"] == pytest.approx(3 / 4)  # A, A rotated, B, B rotated
    assert found["every row"] == pytest.approx(5 / 6)


def test_a_row_may_have_the_picture_of_another(tmp_path):
    rows = [three_d("AAAAAAAA"), three_d("AAAAAAAA-1", image="AAAAAAAA")]
    put(tmp_path / "3dsrbench_v1_vlmevalkit.tsv", rows)
    source = VQA_SETS["3dsrbench"]()
    assert [item.picture for item in source.read(tmp_path)] == [png(), png()]
    put(tmp_path / "3dsrbench_v1_vlmevalkit.tsv", [three_d("AAAAAAAA", image="CCCC")])
    with pytest.raises(InputError, match="row 1: its picture is that of row 'CCCC', not read"):
        source.read(tmp_path)


def test_3dsrbench_annotations_name_coco_pictures(tmp_path):
    row = three_d("AAAAAAAA", image_url="http://images.cocodataset.org/val2017/000000000139.jpg")
    del row["image"]
    put(tmp_path / "3dsrbench_v1-00000-of-00001.parquet", [row])
    put(tmp_path / "coco_images" / "000000000139.jpg", png())
    (item,) = VQA_SETS["3dsrbench"]().read(tmp_path)
    assert item.picture.read_bytes() == png()


def test_spatialbench_has_a_rule_for_each_part(tmp_path):
    pairs = [
        {"image": "existence/1.jpg", "question": "Is there a cup?", "answer": "Yes"},
        {"image": "existence/1.jpg", "question": "Is there a box?", "answer": "No"},
    ]
    put(tmp_path / "existence.json", pairs)
    put(tmp_path / "size.json", pairs)
    asked = "Which is nearer? A. the cup B. the box"
    put(tmp_path / "positional.json", [{"image": "p/1.jpg", "question": asked, "answer": "B"}])
    put(tmp_path / "counting.json", [{"image": ["c/1.jpg"], "question": "How?", "answer": "3"}])
    source = VQA_SETS["spatialbench"]()
    items = source.read(tmp_path)
    kinds = {item.facts["part"]: item.question.kind for item in items}
    assert kinds == {
        "existence": "yes/no",
        "counting": "count",
        "positional": "choice",
        "size": "yes/no",
    }
    choice = next(item.question for item in items if item.facts["part"] == "positional")
    assert (choice.text, choice.options) == ("Which is nearer?", ("the cup", "the box"))
    found = values(source.numbers(marks(source, items, lambda i: not i.id.endswith("/1"))))
    assert found["existence"] == 0.0  # one of the pair is not enough
    assert found["size"] == pytest.approx(1 / 3)
    assert found["positional"] == found["counting"] == 1.0


def record(**change):
    known = {"id": 1, "image": "1.png", "question": "Where?", "options": ["left", "right"]}
    return {**known, "answer": "right", "category": "Orientation", **change}


def test_any_multiple_choice(tmp_path):
    lettered = record(
        id=2, options={"A": "A. left", "B": "B. right"}, answer="(a)", category="Size"
    )
    put(tmp_path / "mine.json", [record(), lettered])
    put(tmp_path / "images" / "1.png", png())
    source = VQA_SETS["choices"]()
    items = source.read(tmp_path)
    assert [item.question.gold for item in items] == ["B", "A"]
    assert items[1].question.options == ("left", "right")
    assert items[0].picture.is_file()
    found = values(source.numbers(marks(source, items, lambda i: i.id == "1")))
    assert found == {"all": 0.5, "Orientation": 1.0, "Size": 0.0}


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([record(answer="C")], "record 1: the right answer 'C' is none of the options \\(A 'left'"),
        ([record(answer="up")], "the right answer 'up' is none of the options"),
        ([record(options=["left"])], "record 1: a choice of 1 options"),
        ([record(options="left, right")], "options that are no list"),
        ([record(), record()], "the id '1' is there twice"),
        ([record(image=None)], "record 1: no 'image' or"),
        ([record(image="/etc/passwd")], "leads out of the folder"),
        ([record(image="C:\\secret.png")], "leads out of the folder"),
        ([record(options=[str(k) for k in range(11)], answer="3")], "at most 10 options"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(tmp_path, records, said):
    put(tmp_path / "mine.json", records)
    with pytest.raises(InputError, match=said):
        VQA_SETS["choices"]().read(tmp_path)
