"""VSR: captions that are true or not, by split and relation."""

from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.vqa import VQA_SETS
from tests.interchange.vqa.making import marks, png, put, values

LINES = [
    {"image": "1.jpg", "caption": "The cat is facing the dog.", "label": 1, "relation": "facing"},
    {"image": "1.jpg", "caption": "The cat is under the dog.", "label": 0, "relation": "under"},
    {"image": "2.jpg", "caption": "The cat is beyond it.", "label": 0, "relation": "beyond"},
]


@pytest.fixture
def folder(tmp_path):
    put(tmp_path / "images" / "1.jpg", png())
    for split in ("random", "zeroshot"):
        put(tmp_path / "splits" / split / "test.jsonl", LINES)
        put(tmp_path / "splits" / split / "train.jsonl", LINES)
    return tmp_path


def test_the_test_splits_of_the_repository_are_read(folder):
    source = VQA_SETS["vsr"]()
    items = source.read(folder)
    assert [item.id for item in items[:3]] == ["random/0", "random/1", "random/2"]
    assert len(items) == 6
    first = items[0]
    assert first.question.text == 'Is this true of the image: "The cat is facing the dog"?'
    assert [item.question.gold for item in items[:3]] == ["yes", "no", "no"]
    assert [item.facts["kind"] for item in items[:3]] == ["orientation", "projective", "other"]
    assert first.picture.read_bytes() == png()
    assert items[2].picture == folder / "splits" / "random" / "images" / "2.jpg"


def test_numbers_are_those_of_each_split_and_kind(folder):
    source = VQA_SETS["vsr"]()
    items = source.read(folder)
    found = values(
        source.numbers(
            marks(source, items, lambda i: i.id.startswith("random") or i.question.gold == "yes")
        )
    )
    assert found["random"] == 1.0
    assert found["zeroshot"] == pytest.approx(1 / 3)
    assert found["orientation"] == 1.0
    assert found["projective"] == 0.5


def test_a_single_file_is_read_with_the_pictures_further_up(folder):
    items = VQA_SETS["vsr"]().read(folder / "splits" / "random" / "train.jsonl")
    assert [item.id for item in items] == ["train/0", "train/1", "train/2"]
    assert items[0].picture == folder / "images" / "1.jpg"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 2}, "line 1: 'label' is 0 or 1, got 2"),
        ({"label": None}, "line 1: no 'label' \\(it has: image, caption, label, relation\\)"),
        ({"image": "../../secret.png"}, "the picture '../../secret.png' leads out of the folder"),
        ({"image": "/etc/passwd"}, "leads out of the folder"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, change, said):
    put(tmp_path / "test.jsonl", [{**LINES[0], **change}])
    with pytest.raises(InputError, match=said):
        VQA_SETS["vsr"]().read(tmp_path)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(InputError, match="holds no file of VSR"):
        VQA_SETS["vsr"]().read(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        VQA_SETS["vsr"]().read(tmp_path / "none")
    put(tmp_path / "test.jsonl", "")
    with pytest.raises(InputError, match="no question of VSR was found"):
        VQA_SETS["vsr"]().read(tmp_path)
    put(tmp_path / "test.jsonl", "plain words\n")
    with pytest.raises(InputError, match=r"test\.jsonl, line 1"):
        VQA_SETS["vsr"]().read(tmp_path)
