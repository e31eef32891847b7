import json

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.labels import Label, append_label, read_labels
from t2i_spatial.labels.records import last_words


def label(answer="yes", image="images/0_0.png", annotator="a", **more):
    base = {"image_sha256": "0" * 64, "prompt_id": "0", "sample": 0, "question_id": "q"}
    return Label(image=image, label=answer, annotator=annotator, **{**base, **more})


def test_what_is_appended_is_read(tmp_path):
    path = tmp_path / "labels" / "a.jsonl"
    append_label(path, label(pi=0.25, batch=1, seed=7, picker="active"))
    append_label(path, label("no", question="Is there a “cat”?"))
    table = read_labels([path])
    assert table["label"].to_list() == ["yes", "no"]
    assert table["pi"].to_list() == [0.25, None]
    assert table["time"].str.len_chars().min() > 20
    assert len(path.read_text("utf-8").splitlines()) == 2


def test_half_written_last_line_is_left_out_and_does_not_spoil_the_next(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    append_label(path, label(), label("no"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert read_labels([path])["label"].to_list() == ["yes"]
    assert "line 2: half written" in capsys.readouterr().err
    append_label(path, label("unsure"))
    assert read_labels([path])["label"].to_list() == ["yes", "unsure"]


def test_cut_within_a_letter(tmp_path):
    path = tmp_path / "a.jsonl"
    append_label(path, label(question="ä"))
    data = path.read_bytes()
    path.write_bytes(data + data[: data.index("ä".encode()) + 1])
    assert len(read_labels([path])) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "maybe"}, "line 2: a label is one of yes, no, unsure"),
        ({"annotator": " "}, "needs an annotator"),
        ({"pi": 0}, r"pi must be in \(0, 1\]"),
        ({"pi": "0.5"}, "pi is '0.5', expected float"),
        ({"sample": True}, "sample is True"),
        ({"prompt_id": None}, "line 2: no 'prompt_id'"),
        ({"image_sha256": "abc"}, "no SHA-256"),
    ],
)
def test_broken_records_are_one_line(tmp_path, change, said):
    path = tmp_path / "a.jsonl"
    append_label(path, label())
    record = json.loads(path.read_text()) | change
    path.write_text(path.read_text() + json.dumps(record) + "\n")
    with pytest.raises(InputError, match=said) as caught:
        read_labels([path])
    assert "\n" not in str(caught.value)


def test_broken_line_in_the_middle(tmp_path):
    path = tmp_path / "a.jsonl"
    append_label(path, label())
    path.write_text("oops\n" + path.read_text())
    with pytest.raises(InputError, match="line 1: not JSON"):
        read_labels([path])
    path.write_text("[1]\n")
    with pytest.raises(InputError, match="JSON object"):
        read_labels([path])
    path.write_bytes(b"\xff\xfe\n{}\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_labels([path])


def test_last_word_counts_and_withdrawn_ones_are_gone(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    append_label(path, label("yes"), label("yes"))
    append_label(path, label("yes", prompt_id="1"), label("no", prompt_id="1"))
    append_label(path, label("yes", prompt_id="2"), label("withdrawn", prompt_id="2"))
    append_label(path, label("no", annotator="b"))
    table = last_words(read_labels([path])).select("prompt_id", "annotator", "label")
    assert sorted(table.rows()) == [("0", "a", "yes"), ("0", "b", "no"), ("1", "a", "no")]
    said = capsys.readouterr().err
    assert "1 labels were given twice" in said
    assert "1 labels were changed" in said
