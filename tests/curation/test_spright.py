from __future__ import annotations

import json

import polars as pl
import pytest

from t2i_spatial.curation.spright import caption_statistics, format_statistics, read_captions
from t2i_spatial.errors import InputError


def relations(*captions):
    found = caption_statistics(captions)["relations"]
    return {name: counts["phrases"] for name, counts in found.items() if counts["phrases"]}


def test_phrases_count_once_by_their_longest_match():
    assert relations("a cat on the left of a dog") == {"left of": 1}
    assert relations("a cat ON  TOP OF a box") == {"on": 1}
    assert relations("a dog in front of a bus, behind  it a tree") == {
        "in front of": 1, "behind": 1,
    }  # fmt: skip
    assert relations("aboveboard inside-out leftover") == {"in": 1}
    assert relations("cat beside dog next to bus") == {"next to": 2}


def test_loose_words_do_not_make_a_caption_spatial():
    found = caption_statistics(["in the morning", "a cup on a table", "a cat under a bed", ""])
    assert (found["captions"], found["spatial"], found["spatial_percent"]) == (4, 1, 25.0)
    assert found["relations"]["on"] == {"captions": 1, "phrases": 1}
    assert found["words"] == pytest.approx((3 + 5 + 5 + 0) / 4)


def test_long_captions_are_counted():
    assert caption_statistics(["word " * 41, "word " * 40])["long"] == 1


def test_chunks_change_nothing(monkeypatch):
    captions = [f"a cat {w} a dog" for w in ("above", "below", "near", "of")] * 5
    whole = caption_statistics(captions)
    monkeypatch.setattr("t2i_spatial.curation.spright.CHUNK", 3)
    assert caption_statistics(iter(captions)) == whole


def test_no_captions():
    found = caption_statistics([])
    assert (found["captions"], found["spatial_percent"], found["words"]) == (0, None, None)
    assert format_statistics(found) == "no captions"


def test_a_table_for_people():
    text = format_statistics(caption_statistics(["a cat above a dog", "a dog"]))
    assert "1 (50.0 %) name a spatial relation" in text
    assert "above                    1     50.00           1" in text


def files(folder):
    captions = ["a cat above a dog", "a dog"]
    (folder / "a.txt").write_text("\n".join(captions) + "\n\n")
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": c}) + "\n" for c in captions))
    pl.DataFrame({"id": [1, 2], "caption": captions}).write_csv(folder / "a.csv")
    pl.DataFrame({"prompt": captions}).write_parquet(folder / "a.parquet")
    (folder / "a.json").write_text(json.dumps({"annotations": [{"caption": c} for c in captions]}))
    return captions


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv", "parquet", "json"])
def test_captions_of_any_file(tmp_path, suffix):
    captions = files(tmp_path)
    assert list(read_captions(tmp_path / f"a.{suffix}")) == captions


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "no such file"),
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "line 2"),
        ("b.jsonl", '{"title": "x"}\n', "no column text or caption or prompt"),
        ("a.csv", "title\nx\n", "no column text"),
        ("a.parquet", "not parquet", "cannot be read"),
        ("a.json", "[]", "no COCO captions"),
        ("a.txt", b"\xff\xfe\xff", "line"),
    ],
)
def test_broken_files_are_explained(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        list(read_captions(path))
