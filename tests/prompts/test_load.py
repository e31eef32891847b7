import json

import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.prompts import load_prompts, sr2d, unread, write_prompts
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import prompts_to_table

POSITION = {
    "tag": "position",
    "include": [
        {"class": "traffic light", "count": 1},
        {"class": "toaster", "count": 1, "position": ["below", 0]},
    ],
    "prompt": "a photo of a toaster below a traffic light",
}
COUNTING = {
    "tag": "counting",
    "include": [{"class": "clock", "count": 2}],
    "exclude": [{"class": "clock", "count": 3}],
    "prompt": "a photo of two clocks",
}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def jsonl(path, *records):
    return write(path, "".join(json.dumps(record) + "\n" for record in records))


def test_own_format_comes_back_as_written(tmp_path):
    prompts = [
        *sr2d()[:12],
        Prompt(
            "x",
            "a red cat in the top left, two dogs",
            "own",
            SceneSpec(
                (ObjectSpec("cat", 1, "red", ("fluffy",), "top left"), ObjectSpec("dog", None)),
                (RelationSpec(0, "on", 1, "on top of"),),
                ("riding",),
            ),
            {"note": "für später", "layout": [{"name": "cat", "box": [0, 0, 0.5, 1]}]},
        ),
    ]
    write_prompts(prompts, tmp_path / "prompts.jsonl")
    assert load_prompts(tmp_path / "prompts.jsonl") == prompts


def test_sr2d_by_name():
    assert load_prompts("sr2d") == sr2d()


def test_geneval_lines_are_accepted_as_they_are(tmp_path):
    first, second = load_prompts(jsonl(tmp_path / "m.jsonl", POSITION, COUNTING))
    assert (first.id, first.tag) == ("00000", "position")
    assert first.scene.names == ("traffic light", "toaster")
    assert first.scene.relations == (RelationSpec(1, "below", 0),)
    assert first.metadata == {"geneval": POSITION}
    assert second.id == "00001"
    assert second.scene.objects == (ObjectSpec("clock", 2),)


def test_a_class_that_is_only_excluded_must_be_absent(tmp_path):
    record = {**COUNTING, "exclude": [{"class": "dog", "count": 1}]}
    (prompt,) = load_prompts(jsonl(tmp_path / "m.jsonl", record))
    assert prompt.scene.objects == (ObjectSpec("clock", 2), ObjectSpec("dog", 0))


def test_formats_may_be_mixed_in_one_file(tmp_path):
    path = jsonl(
        tmp_path / "mixed.jsonl",
        POSITION,
        {"id": "own", "text": "a cat above a dog"},
        {"prompt": "a dog", "atom_count": 3, "vqa_list": [["How many dogs?", "one"]], "skills": []},
        {
            "id": "000007",
            "scene": "Library",
            "prompt": "a book on a desk",
            "question_type": "x",
            "questions": ["?"],
            "answers": ["A"],
        },
        {"unique_id": 1, "num_objects": 2, "obj_1_attributes": ["bicycle"],
         "obj_2_attributes": ["person"], "rel_type": "to the left of",
         "text": "a bicycle to the left of a person"},
        {"caption": "two cups", "key": "k7", "width": 512, "blob": [1]},
    )  # fmt: skip
    prompts = load_prompts(path)
    assert [p.id for p in prompts] == ["00000", "own", "00002", "000007", "1", "k7"]
    assert [p.tag for p in prompts] == ["position", "above", "3 atoms", "Library", "left of", None]
    assert prompts[4] == sr2d()[1]
    assert prompts[5].metadata == {"width": 512}
    assert all(p.scene is not None and p.scene.objects for p in prompts)


def test_the_published_sr2d_file_is_the_built_in_set(tmp_path):
    records = [
        {
            "unique_id": int(p.id),
            "num_objects": len(p.scene.objects),
            "obj_1_attributes": [p.scene.objects[0].name],
            "obj_2_attributes": [p.scene.objects[1].name if len(p.scene.objects) > 1 else None],
            "rel_type": p.scene.relations[0].phrase or p.tag if p.scene.relations else p.tag,
            "text": p.text,
        }
        for p in sr2d()[::211] + sr2d()[-2:]
    ]
    path = write(tmp_path / "text_spatial_rel_phrases.json", json.dumps(records, indent=2))
    assert load_prompts(path) == sr2d()[::211] + sr2d()[-2:]


def test_columns_of_a_table_are_texts(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text("id,text,tag,metadata\na,a cat left of a dog,,from the zoo\n")
    (prompt,) = load_prompts(str(path))
    assert (prompt.id, prompt.tag) == ("a", "left of")  # an empty tag is none: the relation's
    assert prompt.metadata == {"metadata": "from the zoo"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"tag": "x", "prompt": "a cat", "include": 5}, "include must be a list"),
        ({"id": "a", "text": "a cat", "metadata": [1]}, "metadata that is no mapping"),
    ],
)
def test_records_of_another_shape_are_refused(tmp_path, record, message):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        load_prompts(str(path))


def test_only_a_line_feed_ends_a_prompt(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("a cat\u2028and a dog\r\na bird\x0con a tree\n".encode())
    assert [p.text for p in load_prompts(str(path))] == [
        "a cat\u2028and a dog",
        "a bird\x0con a tree",
    ]


def test_plain_text_is_one_prompt_per_line(tmp_path):
    path = write(tmp_path / "p.txt", "a cat on the left of a dog\r\nfour mice chased a zorb\n\n")
    first, second = load_prompts(path)
    assert (first.id, first.tag) == ("00000", "left of")
    assert second.scene.objects == (ObjectSpec("mouse", 4), ObjectSpec("zorb"))
    assert unread([first, second]) == [second]


def test_text_that_looks_like_json_can_be_forced(tmp_path):
    path = write(tmp_path / "p.txt", "{a cat} next to a dog\n")
    with pytest.raises(InputError, match="not valid JSON"):
        load_prompts(path)
    (prompt,) = load_prompts(path, format="text")
    assert prompt.scene.names == ("cat", "dog")


def test_csv_tsv_and_parquet_with_a_caption_column(tmp_path):
    rows = {"id": ["a", "b"], "caption": ["a cat, left of a dog", "a cup"], "score": [0.5, 1.0]}
    pl.DataFrame(rows).write_csv(tmp_path / "p.csv")
    pl.DataFrame(rows).write_csv(tmp_path / "p.tsv", separator="\t")
    pl.DataFrame(rows).write_parquet(tmp_path / "p.parquet")
    for name in ("p.csv", "p.tsv", "p.parquet"):
        prompts = load_prompts(tmp_path / name)
        assert [(p.id, p.text) for p in prompts] == list(
            zip(rows["id"], rows["caption"], strict=True)
        )
    assert prompts[1].metadata == {"score": 1.0}


def test_the_caption_column_may_be_named(tmp_path):
    path = write(tmp_path / "p.csv", "was,text\na cat,nonsense\n")
    assert load_prompts(path, column="was")[0].text == "a cat"
    with pytest.raises(InputError, match=r"line 2: no column 'wass'"):
        load_prompts(path, column="wass")


def test_the_table_of_a_run(tmp_path):
    prompts = sr2d()[:5]
    prompts_to_table(prompts).write_parquet(tmp_path / "prompts.parquet")
    assert load_prompts(tmp_path / "prompts.parquet") == prompts


def test_a_data_set_on_disk(tmp_path):
    import datasets

    rows = datasets.Dataset.from_dict({"caption": ["a cat above a dog", "a cup"]})
    rows.save_to_disk(tmp_path / "set")
    assert [p.text for p in load_prompts(tmp_path / "set")] == ["a cat above a dog", "a cup"]
    datasets.DatasetDict({"a": rows, "b": rows}).save_to_disk(tmp_path / "splits")
    with pytest.raises(InputError, match="splits a, b"):
        load_prompts(tmp_path / "splits")


def test_a_data_set_that_cannot_be_had_says_what_to_do(monkeypatch, tmp_path):
    import datasets

    def offline(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(InputError, match=r"'owner/name': no network; .* path"):
        load_prompts("hf:owner/name")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.jsonl", '{"id": "0", "text": "a cat"}\n{"id": \n', r"line 2: not valid JSON"),
        ("p.jsonl", '{"id": "0", "text": "  "}\n', r"line 1: .*empty text"),
        ("p.jsonl", '{"id": "0", "text": "a"}\n' * 2, r"'0' occurs twice \(records 1 and 2\)"),
        ("p.jsonl", '{"prompt": ""}\n', r"line 1: .*empty|line 1: an empty prompt"),
        ("p.jsonl", "[1, 2]\n", r"line 1: a prompt record must be a JSON object, got list"),
        ("p.jsonl", '{"foo": 1}\n', r"line 1: a record of no known prompt format \(keys: foo\)"),
        ("p.jsonl", '{"text": "a", "scene": {"objets": []}}\n', r"line 1: a prompt needs .*'id'"),
        (
            "p.jsonl",
            '{"id": 1, "text": "a", "scene": {"objets": []}}\n',
            r"line 1: unknown key 'objets' in a scene; did you mean 'objects'",
        ),
        (
            "p.jsonl",
            '{"prompt": "a", "include": [{"class": "a", "count": 1, "position": ["lef of", 0]}]}\n',
            r"line 1: unknown relation 'lef of'",
        ),
        ("p.jsonl", '{"prompt": "a", "include": [{"count": 1}]}\n', r"line 1: a clause .* class"),
        (
            "p.jsonl",
            '{"prompt": "a", "include": [{"class": "a", "position": ["above", "x"]}]}\n',
            r"line 1: position must be \[relation, index\]",
        ),
        (
            "p.jsonl",
            '{"prompt": "a", "include": [{"class": "a", "position": ["above", 3]}]}\n',
            r"line 1: relation 'above' names object 3, but the scene has 1",
        ),
        ("p.jsonl", '{"unique_id": 1, "rel_type": 2, "text": "a"}\n', r"line 1: rel_type must be"),
        ("p.jsonl", '{"unique_id": 1, "rel_type": "above", "text": "a"}\n', r"needs two objects"),
        ("p.jsonl", '{"id": ' + "[" * 100_000, r"line 1: not readable JSON"),
        ("p.json", '[{"text": "a"},]', r"line 1: not valid JSON"),
        ("p.txt", "a cat\n\na dog\n", r"line 2: an empty prompt"),
        ("p.csv", "id,text\n1,a cat\n2\n", r"line 3: not as many fields"),
        ("p.txt", "\n\n", r"no prompts in"),
        ("p.jsonl", "", r"no prompts in"),
    ],
)
def test_a_broken_file_is_told_by_line(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        load_prompts(write(tmp_path / name, text))


def test_text_that_is_not_utf8_is_told_by_line(tmp_path):
    (tmp_path / "p.txt").write_bytes(b"a cat\na caf\xe9\n")
    with pytest.raises(InputError, match=r"line 2: not UTF-8 text \(byte 0xe9\)"):
        load_prompts(tmp_path / "p.txt")


def test_a_byte_order_mark_is_no_part_of_the_prompt(tmp_path):
    (tmp_path / "p.txt").write_bytes("\ufeffa cat\n".encode())
    assert load_prompts(tmp_path / "p.txt")[0].text == "a cat"


def test_missing_files_names_and_formats(tmp_path):
    with pytest.raises(InputError, match="no such prompt file"):
        load_prompts(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="did you mean 'sr2d'"):
        load_prompts("srd2")
    with pytest.raises(InputError, match="unknown prompt format 'genval'; did you mean 'geneval'"):
        load_prompts(write(tmp_path / "p.txt", "a"), format="genval")
    (tmp_path / "p.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        load_prompts(tmp_path / "p.parquet")


def test_a_folder_that_no_data_set_can_be_is_told():
    from t2i_spatial.prompts.hub import dataset_records

    with pytest.raises(InputError, match="cannot load the data set '/'"):
        list(dataset_records("/"))
