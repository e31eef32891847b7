"""Prompt files as people have them: spreadsheets, exports, folders, pipes, repeats."""

from __future__ import annotations

import json
import os
import threading

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.prompts import load_prompts

GENEVAL = {"tag": "single", "include": [{"class": "cat", "count": 1}], "prompt": "a photo of a cat"}
DOG = {"tag": "single", "include": [{"class": "dog", "count": 1}], "prompt": "a photo of a dog"}


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


def read(path, **options):
    return [(p.id, p.text) for p in load_prompts(path, **options)]


TABLES = {
    "Excel, semicolons, BOM": ("p.csv", "\ufeffID;Prompt;Tag\r\n1;a cat, black;x\r\n2;a dog;\r\n"),
    "Excel names its delimiter": ("p.csv", "sep=;\r\nid;prompt\r\n1;a cat, black\r\n2;a dog\r\n"),
    "tabs under .csv": ("p.csv", "id\tcaption\n1\ta cat, black\n2\ta dog\n"),
    "bars": ("p.csv", "id|text\n1|a cat, black\n2|a dog\n"),
    "blank rows and fields": ("p.csv", 'id,text,,\n1,"a cat, black",,\n,,,\n2,a dog,,\n,,,\n'),
    "pandas index column": ("p.csv", ',id,text\n0,1,"a cat, black"\n1,2,a dog\n'),
    "blanks around names": ("p.csv", 'id , Prompt \n1,"a cat, black"\n2,a dog\n'),
    "ids as floats": ("p.csv", 'item_id,text\n1,"a cat, black"\n2,a dog\n'),
    "commas under .tsv": ("p.tsv", 'id,text\n1,"a cat, black"\n2,a dog\n'),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_every_spreadsheet(tmp_path, case):
    name, text = TABLES[case]
    assert read(write(tmp_path / name, text)) == [("1", "a cat, black"), ("2", "a dog")]


def test_excels_unicode_text_is_utf16(tmp_path):
    path = write(tmp_path / "p.tsv", "id\tprompt\n1\tein Käfer\n", "utf-16")
    assert read(path) == [("1", "ein Käfer")]


def test_one_column_needs_no_quotation_marks(tmp_path):
    path = write(tmp_path / "p.csv", 'prompt\na cat, a dog\n"a bus; red"\nfive "quoted" cups\n')
    assert [text for _, text in read(path)] == [
        "a cat, a dog",
        "a bus; red",
        'five "quoted" cups',
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ['"STOP" on a red sign', "a cat"],
        ['"a cat', 'dog"'],
        ['the word "GO"', '"NO" and "YES" side by side'],
        ['a 5" screen', 'a "small" cat'],
    ],
)
def test_quotation_marks_in_a_tsv_are_text_and_no_row_is_lost(tmp_path, texts):
    rows = [f"{text}\tAbstract\tBasic\t" for text in texts]
    path = write(tmp_path / "p.tsv", "\n".join(["Prompt\tCategory\tChallenge\tNote", *rows]) + "\n")
    assert [text for _, text in read(path)] == texts


def test_a_quoted_field_may_hold_a_line_end(tmp_path):
    path = write(tmp_path / "p.csv", 'id,text\n1,"a cat\nand a dog"\n2,"a ""red"" cup"\n')
    assert read(path) == [("1", "a cat\nand a dog"), ("2", 'a "red" cup')]


def test_errors_name_the_line_that_begins_the_row(tmp_path):
    path = write(tmp_path / "p.csv", 'id,text\n1,"a cat\nand a dog"\n2,a dog,x\n')
    with pytest.raises(InputError, match=r"line 4: not as many fields .*3 and 2"):
        load_prompts(path)
    path = write(tmp_path / "q.csv", 'id,text\n1,"a\ncat"\n2,"a" dog,x\n3,a\n')
    with pytest.raises(InputError, match=r"line 4: not valid CSV"):
        load_prompts(path)
    with pytest.raises(InputError, match="two columns are called 'text'"):
        load_prompts(write(tmp_path / "r.csv", "text,text\na,b\n"))


def test_the_delimiter_may_be_named(tmp_path):
    path = write(tmp_path / "p.csv", "id~text\n1~a cat, black\n")
    assert read(path, delimiter="~") == [("1", "a cat, black")]
    with pytest.raises(InputError, match="one sign"):
        load_prompts(path, delimiter="~~")


@pytest.mark.parametrize(
    "content",
    [
        ["a cat", "a dog"],
        {"prompts": ["a cat", "a dog"]},
        {"rows": [{"row_idx": i, "row": {"text": t}} for i, t in enumerate(["a cat", "a dog"])]},
        {
            "images": [{"id": 9}],
            "annotations": [{"image_id": 9, "caption": t} for t in ("a cat", "a dog")],
        },
    ],
)
def test_json_of_every_shape(tmp_path, content):
    assert [t for _, t in read(write(tmp_path / "p.json", json.dumps(content)))] == [
        "a cat",
        "a dog",
    ]


@pytest.mark.parametrize(
    "content", [{"x1": "a cat", "x2": "a dog"}, {"x1": {"text": "a cat"}, "x2": {"text": "a dog"}}]
)
def test_json_by_id(tmp_path, content):
    path = write(tmp_path / "p.json", json.dumps(content))
    assert read(path) == [("x1", "a cat"), ("x2", "a dog")]


def test_a_folder_of_prompt_files_is_in_natural_order_with_the_names_as_ids(tmp_path):
    for number in range(1, 13):
        write(tmp_path / f"{number}.txt", f"{number} cats\n")
    assert read(tmp_path) == [(str(n), f"{n} cats") for n in range(1, 13)]
    write(tmp_path / "color.txt", "a red cat\na blue dog\n")
    prompts = load_prompts(tmp_path)[-2:]
    assert [(p.id, p.tag) for p in prompts] == [("color_0", "color"), ("color_1", "color")]
    write(tmp_path / "13.txt", "")
    with pytest.raises(InputError, match=r"13\.txt: an empty prompt"):
        load_prompts(tmp_path)


def test_one_row_per_question_is_one_prompt(tmp_path):
    text = "item_id,text,proposition_id,question\n" + "".join(
        f"{item},a {item},{k},is there part {k}?\n" for item in ("cat", "dog") for k in (1, 2, 3)
    )
    prompts = load_prompts(write(tmp_path / "dsg.csv", text))
    assert [(p.id, p.text) for p in prompts] == [("cat", "a cat"), ("dog", "a dog")]
    assert prompts[0].metadata["question"] == [f"is there part {k}?" for k in (1, 2, 3)]
    without = text.replace("item_id,", "kind,")
    assert read(write(tmp_path / "tifa.csv", without)) == [("00000", "a cat"), ("00001", "a dog")]


def test_lines_that_all_repeat_are_samples_of_one_prompt(tmp_path, capsys):
    lines = [GENEVAL] * 4 + [DOG] * 4
    path = write(tmp_path / "m.jsonl", "\n".join(map(json.dumps, lines)))
    prompts = load_prompts(path)
    assert [p.id for p in prompts] == ["00000", "00004"]
    assert prompts[1].metadata["repeated_as"] == ["00005", "00006", "00007"]
    assert "stands 4 times" in capsys.readouterr().err
    assert len(load_prompts(path, repeated="keep")) == 8
    shuffled = write(tmp_path / "s.jsonl", "\n".join(map(json.dumps, [GENEVAL, DOG] * 4)))
    assert [p.id for p in load_prompts(shuffled)] == ["00000", "00001"]


def test_some_repeated_lines_are_told_and_merged_when_asked(tmp_path, capsys):
    path = write(tmp_path / "p.txt", "a cat\na dog\na cat\n")
    assert [p.id for p in load_prompts(path)] == ["00000", "00001", "00002"]
    assert "1 of 2 texts" in capsys.readouterr().err
    assert [p.id for p in load_prompts(path, repeated="merge")] == ["00000", "00001"]
    own = write(tmp_path / "p.csv", "id,text\na,a cat\nb,a cat\n")
    assert [p.id for p in load_prompts(own)] == ["a", "b"]
    arguments = ["prompts", str(path), "--repeated", "merge", "-o", str(tmp_path / "o.jsonl")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert len(load_prompts(tmp_path / "o.jsonl")) == 2


def test_a_geneval_line_keeps_its_own_id(tmp_path):
    records = [{**GENEVAL, "id": "g7"}, {**DOG, "id": 9}, {**DOG, "prompt": "two dogs"}]
    path = write(tmp_path / "m.jsonl", "\n".join(map(json.dumps, records)))
    assert [p.id for p in load_prompts(path)] == ["g7", "9", "00002"]


@pytest.mark.parametrize("value", [None, True, [1], 1.5, "  "])
@pytest.mark.parametrize("rest", [{"text": "a cat"}, {"text": "a cat", "scene": {"objects": []}}])
def test_ids_that_are_none_are_refused(tmp_path, value, rest):
    path = write(tmp_path / "p.jsonl", json.dumps({"id": value, **rest}))
    with pytest.raises(InputError, match="line 1: id must be text or a whole number"):
        load_prompts(path)


def test_counts_that_no_picture_can_show_are_refused(tmp_path):
    for count in (20_000, 2**31, 10**30):
        clause = {"class": "cat", "count": count}
        path = write(tmp_path / "p.jsonl", json.dumps({**GENEVAL, "include": [clause]}))
        with pytest.raises(InputError, match=r"line 1: .*at most 10,000"):
            load_prompts(path)


@pytest.mark.parametrize(
    "record",
    ['{"id": "0", "text": "a cat \\ud83d"}', '{"id": "\\udc00", "text": "a cat"}',
     '{"prompt": "a \\ud83d", "caption": 1}'],
)  # fmt: skip
def test_half_a_character_is_told_by_line(tmp_path, record):
    with pytest.raises(InputError, match=r"line 1: .*half a character"):
        load_prompts(write(tmp_path / "p.jsonl", record))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\x03\x04", "Excel workbook"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"\x80\x04\x95", "pickle"),
        (b"\x89PNG\r\n", "a picture"),
        (b"PAR1", "not a readable Parquet"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, start, message):
    with pytest.raises(InputError, match=message):
        load_prompts(write(tmp_path / "prompts.jsonl", start + b"\x00\xff" * 40))


def test_nothing_is_no_prompt_set():
    for empty in ("", "  "):
        with pytest.raises(InputError, match="the name is empty"):
            load_prompts(empty)


def test_a_pipe_is_read_once(tmp_path, monkeypatch):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text('{"id": "a", "text": "a cat"}\n'))
    writer.start()
    assert read(path) == [("a", "a cat")]
    writer.join()
    monkeypatch.setattr("t2i_spatial.incoming.PIPE_SECONDS", 0.1)
    with pytest.raises(InputError, match="a pipe that nobody writes to"):
        load_prompts(path)


@pytest.mark.parametrize(
    "text",
    [
        "一只猫在狗的左边",
        "кошка слева от собаки",
        "قطة على يسار كلب",
        "🐱⬅️🐶",
        "ａ ｃａｔ",
        "cat\x00dog",
        "\u202ea cat\u202c",
        "a̴̛ c̷a̸t",
        "<b>a cat</b>",
        "(cat:1.3), [dog], BREAK",
    ],
)
def test_any_unicode_is_a_prompt_and_comes_back(tmp_path, text):
    path = write(tmp_path / "p.jsonl", json.dumps({"id": "0", "text": text}))
    assert read(path) == [("0", text)]


def test_lines_may_end_in_a_carriage_return(tmp_path):
    assert read(write(tmp_path / "p.txt", "a cat\ra dog\r")) == [
        ("00000", "a cat"),
        ("00001", "a dog"),
    ]
