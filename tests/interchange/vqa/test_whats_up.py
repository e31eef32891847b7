"""What's Up: the first caption is the right one; pairs and sets count when all are right."""

from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.vqa import VQA_SETS
from tests.interchange.vqa.making import marks, png, put, values

CAPTIONS = [f"A mug {way} a table" for way in ("on", "under", "left of", "right of")]
WAYS = {"left": "left_of", "right": "right_of", "on": "on", "under": "under"}


def taken(pair, ways=WAYS, folder="controlled_images"):
    first, second = pair
    return [
        {
            "image_path": f"data/{folder}/{first}_{way}_{second}.jpeg",
            "caption_options": CAPTIONS,
        }
        for way in ways.values()
    ]


@pytest.fixture
def source():
    return VQA_SETS["whatsup"]()


def test_pairs_and_sets_as_the_authors_count_them(tmp_path, source):
    records = taken(("mug", "table")) + taken(("beer-bottle", "armchair"))
    put(tmp_path / "controlled_images_dataset.json", records)
    items = source.read(tmp_path)
    assert [item.question.skill for item in items[:4]] == ["left", "right", "on", "under"]
    assert {item.question.gold for item in items} == {"A"}
    assert source.shuffled
    # of the second set one of the four is wrong: 7 of 8, 3 of 4 pairs, 1 of 2 sets
    found = values(source.numbers(marks(source, items, lambda i: i.id != "A/5")))
    assert found == {"A": 7 / 8, "A pairs": 3 / 4, "A sets": 1 / 2}


def test_pictures_lie_below_the_folder_or_its_data(tmp_path, source):
    put(tmp_path / "controlled_images_dataset.json", taken(("mug", "table")))
    put(tmp_path / "controlled_images" / "mug_on_table.jpeg", png())
    there = [item.picture.is_file() for item in source.read(tmp_path)]
    assert there == [False, False, True, False]
    repository = tmp_path / "repository"
    put(repository / "data" / "controlled_images_dataset.json", taken(("mug", "table")))
    put(repository / "data" / "controlled_images" / "mug_on_table.jpeg", png())
    assert [item.picture.is_file() for item in source.read(repository)] == there


def test_lists_of_coco_and_gqa_and_the_means_of_two(tmp_path, source):
    one = [[139, "A photo of a tv on the right", "A photo of a tv on the left"]]
    two = [[285, "A photo of a bear above a cup", "A photo of a bear below a cup"]]
    put(tmp_path / "coco_qa_one_obj.json", one)
    put(tmp_path / "coco_qa_two_obj.json", two)
    put(tmp_path / "vg_qa_two_obj.json", [[7, "A box to the left of a bag", "A box in front of"]])
    items = source.read(tmp_path)
    assert [item.question.skill for item in items] == ["right", "above", "left"]
    assert str(items[0].picture).endswith("val2017/000000000139.jpg")
    assert str(items[2].picture).endswith("vg_images/7.jpg")
    found = values(source.numbers(marks(source, items, lambda i: i.id.startswith("COCO two"))))
    assert found["COCO-spatial"] == 0.5
    assert "GQA-spatial" not in found


@pytest.mark.parametrize(
    ("name", "records", "said"),
    [
        ("coco_qa_one_obj.json", [[1, "one caption"]], "expected \\[image id, right caption"),
        ("coco_qa_one_obj.json", [{"id": 1}], "expected \\[image id, right caption"),
        (
            "controlled_clevr_dataset.json",
            taken(("mug", "table")),
            "the picture 'mug_on_table' is not named OBJECT_RELATION_OBJECT",
        ),
        ("controlled_images_dataset.json", [{"image": "x"}], "no 'image_path'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, source, name, records, said):
    put(tmp_path / name, records)
    with pytest.raises(InputError, match=said):
        source.read(tmp_path)
