import json

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main


def run(*arguments):
    return CliRunner().invoke(main, ["prompts", *map(str, arguments)])


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_sr2d_to_stdout_and_to_a_file(tmp_path):
    records = lines(run("sr2d", "--relations-only", "--limit", 8, "--seed", 1))
    assert sorted(record["tag"] for record in records) == sorted(
        ["left of", "right of", "above", "below"] * 2
    )
    about = lines(run("sr2d", "--relations-only", "--nouns", "bundled"))
    assert len(about) == 24 * 23 * 4
    (tmp_path / "nouns.txt").write_text("cat\ndog\n")
    assert len(lines(run("sr2d", "--nouns", tmp_path / "nouns.txt"))) == 12
    result = run("sr2d", "--limit", 5, "--output", tmp_path / "p.jsonl")
    assert result.stdout == ""
    assert "5 prompts written" in result.stderr
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 5


def test_a_file_is_converted_and_unread_prompts_are_told(tmp_path):
    (tmp_path / "p.txt").write_text("a cat above a dog\na man washing a horse\n")
    result = run(tmp_path / "p.txt")
    assert [record["id"] for record in lines(result)] == ["00000", "00001"]
    assert "1 of 2 prompts could not be read fully" in result.stderr
    assert "washing" in result.stderr


def test_parse_as_table_json_and_drawing(tmp_path):
    table = run("parse", "a red cat left of two dogs", "--drawing", tmp_path / "d.svg")
    assert "0 left of 1" in table.stdout
    assert (tmp_path / "d.svg").read_text().startswith("<svg")
    scene = json.loads(run("parse", "--json", "a red cat left of two dogs").stdout)
    assert scene["objects"][0] == {"name": "cat", "count": 1, "color": "red"}
    assert "not read: washing" in run("parse", "a man washing a horse").stdout


def test_sample_with_options_and_a_held_out_part(tmp_path):
    (tmp_path / "nouns.txt").write_text("cat\ndog\ncup\ntree\n")
    result = run(
        "sample", "--count", 12, "--vocabulary", tmp_path / "nouns.txt", "--relation", "near",
        "--relation", "on", "--colors", "--max-count", 2, "--held-out", 0.3,
        "--held-out-output", tmp_path / "test.jsonl",
    )  # fmt: skip
    train = lines(result)
    test = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert len(train) + len(test) == 12
    assert test
    assert {r["tag"] for r in train + test} == {"near", "on"}
    assert all(o["color"] for r in train for o in r["scene"]["objects"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing.jsonl"], 1, "error: no such prompt file"),
        (["sr2", "--limit", "3"], 1, "did you mean 'sr2d'"),
        (["sr2d", "--limit", "0"], 2, "--limit"),
        (["parse", "  "], 1, "error: an empty prompt"),
        (["sample", "--held-out", "0.5"], 2, "go together"),
        (["sample", "--relation", "lef of"], 1, "unknown relation"),
        (["fetch", "geneval2"], 1, "get it from"),
    ],
)
def test_errors_are_one_line(arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_fetch_lists_what_it_knows():
    assert "geneval\tMIT" in run("fetch").stdout
